"""Statistics of each column over the first rows, and the roles that column names suggest.

Independent of file formats and of row shapes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from studio.data.cells import as_list, as_text
from studio.data.gradings import is_graded
from studio.data.preference_rows import OF_BAD
from studio.data.roles import ROLE_TITLES, Mapping
from studio.data.row_cells import factors_in, is_empty, normal, number_in, turns_in
from studio.data.rows import Row, RowProblem
from studio.data.speakers import exchanges, infer_roles
from studio.data.transcripts import transcript
from studio.data.turns import check_order, turns, unwrapped
from studio.words import Sentence

_NAMES = {
    "messages": "messages conversation conversations dialogue dialog chat turns 对话 消息",
    "tools": "tools functions available_tools tool_config 工具",
    "system": "system system_prompt system_message system_instruction preamble 系统 系统提示",
    "instruction": "instruction instructions 指令",
    "input": "input context 输入",
    "output": "output response answer completion 输出",
    "history": "history chat_history conversation_history dialog_history dialogue_history 历史",
    "prompt": "prompt question query instruction problem input user source request human q inputs user_message message "
    "问题 提问 提示 指令",
    "completion": "completion answer response output assistant reply target attempt solution gpt a targets "
    "回答 答案 回复",
    "article": "article dialogue document text post 文章",
    "summary": "summary highlights tldr 摘要",
    "passage": "context passage paragraph 上下文 段落",
    "chosen": "chosen chosen_response chosen_messages chosen_answer preferred preferred_output preferred_response "
    "better better_response better_answer accepted good winner "
    "best_response good_response good_answer 优选",
    "rejected": "rejected rejected_response rejected_messages rejected_answer dispreferred non_preferred_output "
    "dispreferred_response worse worse_response worse_answer refused bad loser "
    "worst_response bad_response bad_answer 拒绝",
    "answers": "answers responses outputs candidates completions ranked ranking output 回答列表",
    "scores": "scores ratings rewards grades ranks rankings overall_scores 分数",
    "rated": "kto_tag label thumbs thumbs_up thumb thumb_up feedback user_feedback human_feedback reaction liked "
    "is_liked like vote upvoted upvote desirable is_desirable good is_good accepted "
    "is_accepted approved is_approved preferred is_preferred helpful is_helpful correct is_correct verdict judgement "
    "judgment quality rating score reward 评价 点赞 反馈 " + " ".join(OF_BAD),
    "label": "label labels category class intent sentiment topic tag tags 标签 类别 分类",
    "text": "text content sentence document body review message passage comment 文本 内容 正文",
    "reasoning": "reasoning reasoning_content thinking complex_cot chain_of_thought cot long_cot rationale thoughts "
    "thought think thinking_process reasoning_process reasoning_trace "
    "thinking_content thinking_trajectory thinking_trajectories scratchpad 思考 思考过程 思维链 推理 推理过程",
    "weight": "loss_weight weight weights loss sample_weight example_weight loss_scale loss_mask loss_weights "
    "turn_weights message_weights train_on_turn 权重",
    "mask_history": "mask_history",
}
SYNONYMS = {role: names.split() for role, names in _NAMES.items()}
"""Role → normalised column names (`normal`) that suggest it, the most usual one first."""


@dataclass
class Column:
    """Statistics of one column over the first rows.

    filled: cells that are not empty; texts, characters: cells that are scalars, and the characters in them; values:
    texts (their first 200 characters) → occurrences, items of lists included; lists: cells that hold a list; openai,
    sharegpt: cells that hold turns with "role", with "from"; answered: of these, conversations that end with the
    assistant; ordered: conversations whose roles are in a valid order; taken: (unknown speaker, role it is taken for) →
    cells. ranked, written, items and words: see `_see_answers`; graded: lists of answers with a rank or score each;
    transcripts: conversations written as one text.
    """

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
    graded: int = 0
    transcripts: int = 0

    def see(self, value: object, typed: bool = False) -> None:
        """Add one cell. typed: the source has list values of its own, so that a list written as text may be a text."""
        value = unwrapped(value)
        if is_empty(value):
            return
        self.filled += 1
        items = [value] if isinstance(value, dict) and turns_in(value) else as_list(value)
        if normal(self.name) in SYNONYMS["messages"]:
            items = self._as_conversation(value, items)
        if items is not None:
            self.lists += 1
            self.graded += is_graded(items)
            self._see_answers(items, typed and isinstance(value, str))
            self._see_turns(items)
            self.values.update(as_text(item)[:200] for item in items if isinstance(item, str | int))
        elif isinstance(value, str | int | float | bool):
            text = as_text(value)
            self.texts += 1
            self.characters += len(text)
            self.values[text.strip()[:200]] += 1

    def _as_conversation(self, value: object, items: list | None) -> list | None:
        """The turns in a cell of a column named like conversations, if it has them in a form of their own."""
        if items is not None:
            return exchanges(items)
        found = transcript(value) if isinstance(value, str) else None
        self.transcripts += found is not None
        return found

    def _see_answers(self, items: list, written: bool) -> None:
        """Count a cell that may list several answers: two or more distinct, non-empty texts.

        ranked: such cells; written: those of them that are a list only as text, in a source with list values; items:
        texts per cell → cells; words: sum over these cells of the mean number of words per text.
        """
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
        self.taken.update(infer_roles(items).items())

    @property
    def looks_like_conversation(self) -> bool:
        """Whether at least half of the filled cells hold turns."""
        return 2 * max(self.openai, self.sharegpt) >= max(1, self.filled)


Columns = dict[str, Column]
Found = tuple[Mapping, list[Sentence]] | None
"""A proposed mapping and the evidence for it; None if the shape is not recognised."""


def named(columns: Columns, role: str, taken: set[str] = frozenset(), empty: bool = False) -> str | None:
    """The filled column whose name suggests `role`, by the most usual name; None if there is none.

    taken: columns to skip. empty: fall back to a column that is empty in the first rows.
    """
    names = {normal(name): name for name in columns if name not in taken and columns[name].filled}
    found = next((names[synonym] for synonym in SYNONYMS[role] if synonym in names), None)
    if found is None and empty:
        names = {normal(name): name for name in columns if name not in taken}
        found = next((names[synonym] for synonym in SYNONYMS[role] if synonym in names), None)
    return found


def by_name(columns: Columns, needed: tuple[str, ...], extra: tuple[str, ...] = ()) -> dict[str, str] | None:
    """Role → column for all `needed` roles and those of `extra` that are found; None if a needed one is missing."""
    roles: dict[str, str] = {}
    for role in needed:
        column = named(columns, role, set(roles.values()))
        if column is None:
            return None
        roles[role] = column
    return with_extra(columns, roles, extra)


def with_extra(columns: Columns, roles: dict[str, str], extra: tuple[str, ...]) -> dict[str, str]:
    """`roles` and those of `extra` for which there is a column.

    A column that is empty in the first rows counts, since later rows may fill it, except for weight and mask_history.
    """
    roles = dict(roles)
    for role in extra:
        column = named(columns, role, set(roles.values()), empty=role not in ("weight", "mask_history"))
        if column is not None and (role != "weight" or can_be_weights(columns[column])):
            roles[role] = column
    return roles


def holds_history(columns: Columns, name: str) -> bool:
    """Whether a column of turns is named like a history and there is a prompt column: then it holds earlier turns."""
    return normal(name) in SYNONYMS["history"] and named(columns, "prompt", {name}) is not None


def can_be_weights(column: Column) -> bool:
    """Whether the values can be loss weights: yes/no, or numbers from 0 to 100.

    A column called "loss" may hold measured losses instead, so its values must not exceed 1.
    """
    found = [number_in(value) for value in column.values]
    if not found or column.lists or None in found:
        return False
    return max(found) <= (1 if normal(column.name) == "loss" else 100)


def weighs_turns(columns: Columns, rows: list[Row], talk: str) -> str | None:
    """The column that lists loss weights, in most rows one for each turn of the column `talk` or for each answer."""
    for name in columns:
        if normal(name) in SYNONYMS["weight"] and columns[name].lists:
            filled = [row.values for row in rows if not is_empty(row.values.get(name))]
            if 2 * sum(_fit(as_list(values[name]), values.get(talk), talk) for values in filled) > len(filled):
                return name
    return None


def _fit(listed: list | None, talk: object, column: str) -> bool:
    if listed is None or factors_in(listed) is None:
        return False
    try:
        found = turns(unwrapped(talk), Sentence(""), column)
    except RowProblem:
        return False
    return len(listed) in (len(found), sum(turn["role"] == "assistant" for turn in found))


def names_evidence(roles: dict[str, str]) -> list[Sentence]:
    """One sentence of evidence per role: its column was recognised by name."""
    return [
        Sentence("Column '{column}' is named like the {role}.", column=column, role=ROLE_TITLES[role])
        for role, column in roles.items()
    ]


def role_evidence(columns: Columns, roles: dict[str, str]) -> list[Sentence]:
    """Sentences on the roles that change how answers are trained: weight, mask_history and reasoning."""
    text = []
    column = roles.get("weight")
    if column and columns[column].lists:
        text.append(
            Sentence(
                "Column '{column}' lists a weight for each message or each answer: 0 is read but not trained on.",
                column=column,
            )
        )
    elif column:
        found = [number for value in columns[column].values if (number := number_in(value)) is not None]
        text.append(
            Sentence(
                "Column '{column}' holds numbers from {least} to {most}, taken for the weight of each "
                "row's answers: 0 is read but not trained on. If they mean something else, leave that role empty.",
                column=column,
                least=f"{min(found):g}",
                most=f"{max(found):g}",
            )
        )
    if column := roles.get("mask_history"):
        text.append(Sentence("Column '{column}' says in which rows only the last answer is trained on.", column=column))
    if (column := roles.get("reasoning")) and columns[column].filled:
        text.append(Sentence("Column '{column}' is taken for the reasoning before the answer.", column=column))
    return text
