"""What the first rows show of each column, and what its name stands for. Knows nothing about files or shapes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from studio.data.cells import as_list, as_text
from studio.data.judged import OF_BAD
from studio.data.roles import ROLE_TITLES, Mapping
from studio.data.row_cells import is_empty, normal, number_in, turns_in
from studio.data.rows import RowProblem
from studio.data.speakers import taken_for
from studio.data.turns import check_order, turns, unwrapped
from studio.words import Sentence

_NAMES = {
    "messages": "messages conversation conversations dialogue dialog chat turns 对话 消息",
    "tools": "tools functions available_tools 工具",
    "system": "system system_prompt system_message system_instruction 系统 系统提示",
    "instruction": "instruction instructions 指令",
    "input": "input context 输入",
    "output": "output response answer completion 输出",
    "history": "history 历史",
    "prompt": "prompt question query instruction problem input user source request human q 问题 提问 提示 指令",
    "completion": "completion answer response output assistant reply target solution gpt a 回答 答案 回复",
    "passage": "context passage paragraph 上下文 段落",
    "chosen": "chosen chosen_response chosen_messages chosen_answer preferred preferred_output preferred_response better better_response better_answer accepted good winner "
    "best_response good_response good_answer 优选",
    "rejected": "rejected rejected_response rejected_messages rejected_answer dispreferred non_preferred_output dispreferred_response worse worse_response worse_answer refused bad loser "
    "worst_response bad_response bad_answer 拒绝",
    "answers": "answers responses outputs candidates completions ranked ranking output 回答列表",
    "rated": "kto_tag label thumbs thumbs_up thumb thumb_up feedback user_feedback human_feedback reaction liked is_liked like vote upvoted upvote desirable is_desirable good is_good accepted "
    "is_accepted approved is_approved preferred is_preferred helpful is_helpful correct is_correct verdict judgement judgment quality rating score 评价 点赞 反馈 "
    + " ".join(OF_BAD),
    "label": "label labels category class intent sentiment topic tag tags 标签 类别 分类",
    "text": "text content sentence document body review message passage comment 文本 内容 正文",
    "reasoning": "reasoning reasoning_content thinking complex_cot chain_of_thought cot long_cot rationale thoughts thought think thinking_process reasoning_process reasoning_trace "
    "thinking_content thinking_trajectory scratchpad 思考 思考过程 思维链 推理 推理过程",
    "weight": "loss_weight weight weights loss sample_weight example_weight loss_scale 权重",
    "mask_history": "mask_history",
}
SYNONYMS = {role: names.split() for role, names in _NAMES.items()}
"""Role → names of columns that stand for it, the most usual one first."""


@dataclass
class Column:
    """What the first rows show of one column."""

    name: str
    filled: int = 0
    texts: int = 0
    characters: int = 0
    values: Counter = field(default_factory=Counter)
    lists: int = 0
    openai: int = 0
    sharegpt: int = 0
    ordered: int = 0
    answered: int = 0
    ranked: int = 0
    written: int = 0
    items: Counter = field(default_factory=Counter)
    words: float = 0.0
    taken: Counter = field(default_factory=Counter)

    def see(self, value: object, typed: bool = False) -> None:
        """typed: the source can hold lists themselves, so that one written as text is meant as text."""
        value = unwrapped(value)
        if is_empty(value):
            return
        self.filled += 1
        items = [value] if isinstance(value, dict) and turns_in(value) else as_list(value)
        if items is not None:
            self.lists += 1
            self._see_answers(items, typed and isinstance(value, str))
            self._see_turns(items)
            self.values.update(as_text(item)[:200] for item in items if isinstance(item, str | int))
        elif isinstance(value, str | int | float | bool):
            text = as_text(value)
            self.texts += 1
            self.characters += len(text)
            self.values[text.strip()[:200]] += 1

    def _see_answers(self, items: list, written: bool) -> None:
        """ranked: rows with two or more different texts, which may be answers; written: of those that are lists only as text; items: how many
        texts → rows; words: the sum over these rows of the words in each text on average."""
        if (
            len(items) > 1
            and all(isinstance(item, str) and item.strip() for item in items)
            and len(set(items)) == len(items)
        ):
            self.ranked += 1
            self.written += written
            self.items[len(items)] += 1
            self.words += sum(len(item.split()) for item in items) / len(items)

    def _see_turns(self, items: list) -> None:
        if not items or not all(isinstance(item, dict) for item in items):
            return
        openai = all("role" in item for item in items)
        sharegpt = not openai and all("from" in item for item in items)
        self.openai += openai
        self.sharegpt += sharegpt
        if not (openai or sharegpt):
            return
        try:
            found = turns(items, Sentence(""), self.name)
            self.answered += found[-1]["role"] == "assistant"
            check_order(found, Sentence(""))
        except RowProblem:
            return
        self.ordered += 1
        self.taken.update(taken_for(items).items())

    @property
    def looks_like_conversation(self) -> bool:
        """Whether it holds turns in most rows that have something there."""
        return 2 * max(self.openai, self.sharegpt) >= max(1, self.filled)


Columns = dict[str, Column]
Found = tuple[Mapping, list[Sentence]] | None
"""A proposal: a mapping and what speaks for it, or None where a shape is not recognised."""


def named(columns: Columns, role: str, taken: set[str] = frozenset(), empty: bool = False) -> str | None:
    """The filled column whose name stands for `role`; the most usual name wins. empty: one without content does where no other is there."""
    names = {normal(name): name for name in columns if name not in taken and columns[name].filled}
    found = next((names[synonym] for synonym in SYNONYMS[role] if synonym in names), None)
    if found is None and empty:
        names = {normal(name): name for name in columns if name not in taken}
        found = next((names[synonym] for synonym in SYNONYMS[role] if synonym in names), None)
    return found


def by_name(columns: Columns, needed: tuple[str, ...], extra: tuple[str, ...] = ()) -> dict[str, str] | None:
    """Role → column, for all that are needed and what there is of the others; None where a needed one is missing."""
    roles: dict[str, str] = {}
    for role in needed:
        column = named(columns, role, set(roles.values()))
        if column is None:
            return None
        roles[role] = column
    return with_extra(columns, roles, extra)


def with_extra(columns: Columns, roles: dict[str, str], extra: tuple[str, ...]) -> dict[str, str]:
    """`roles` and those of `extra` that have a column, also one that is empty in the first rows: later rows may fill it."""
    roles = dict(roles)
    for role in extra:
        column = named(columns, role, set(roles.values()), empty=role not in ("weight", "mask_history"))
        if column is not None and (role != "weight" or weighs(columns[column])):
            roles[role] = column
    return roles


def earlier(columns: Columns, name: str) -> bool:
    """Whether a column of turns is called a history and stands beside a question, so that it is what was said before it."""
    return normal(name) in SYNONYMS["history"] and named(columns, "prompt", {name}) is not None


def weighs(column: Column) -> bool:
    """Whether its values can be factors of a loss: numbers from 0 on, yes or no. What is called loss may be measured instead: then it goes beyond 1."""
    found = [number_in(value) for value in column.values]
    if not found or column.lists or None in found:
        return False
    return max(found) <= (1 if normal(column.name) == "loss" else 100)


def names_evidence(roles: dict[str, str]) -> list[Sentence]:
    return [
        Sentence("Column '{column}' is named like the {role}.", column=column, role=ROLE_TITLES[role])
        for role, column in roles.items()
    ]


def role_evidence(columns: Columns, roles: dict[str, str]) -> list[Sentence]:
    """What is to be said of the roles that change how answers are learnt."""
    text = []
    if column := roles.get("weight"):
        found = [number for value in columns[column].values if (number := number_in(value)) is not None]
        text.append(
            Sentence(
                "Column '{column}' holds numbers from {least} to {most}, taken for the weight of each row's answers: 0 is read but not learnt. If they mean something else, leave that role empty.",
                column=column,
                least=f"{min(found):g}",
                most=f"{max(found):g}",
            )
        )
    if column := roles.get("mask_history"):
        text.append(Sentence("Column '{column}' says in which rows only the last answer is learnt.", column=column))
    if (column := roles.get("reasoning")) and columns[column].filled:
        text.append(Sentence("Column '{column}' is taken for the reasoning before the answer.", column=column))
    return text
