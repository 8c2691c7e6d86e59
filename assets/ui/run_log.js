// The log of a run while it grows: asks for the lines that it lacks while it is visible, keeps the newest, marks what is searched for.
// `words` stands in front of this script. Text is only ever set through textContent, never as HTML.

const MOST = 5000; // lines that are kept
const root = element.querySelector(".run-log");
let have = { run: "", job: 0, after: 0 };
let source = "messages";
let lines = []; // {text, folded}
let wait = 1000;
let at = -1; // the match that was jumped to last

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
};
const visible = () => !document.hidden && root.offsetParent !== null;

const chooser = make("select", "log-source");
chooser.setAttribute("aria-label", words.source);
for (const key of ["messages", "output"]) {
  const option = make("option", "", words[key]);
  option.value = key;
  chooser.append(option);
}
const search = make("input", "log-search");
Object.assign(search, { type: "search", placeholder: words.search });
search.setAttribute("aria-label", words.search);
const count = make("span", "log-count");
count.setAttribute("role", "status");
const next = make("button", "small-button", words.next);
next.type = "button";
const text = make("pre", "log");
text.tabIndex = 0;
const tools = make("div", "log-tools");
tools.append(chooser, search, next, count);
root.replaceChildren(tools, text);

// A text with every occurrence of the query in a <mark>.
function marked(line, query) {
  const node = make("span");
  const low = line.toLowerCase();
  let from = 0;
  for (let found; query && (found = low.indexOf(query, from)) >= 0; from = found + query.length)
    node.append(line.slice(from, found), make("mark", "", line.slice(found, found + query.length)));
  node.append(`${line.slice(from)}\n`);
  return node;
}

function lineNode({ text: line, folded }, query) {
  if (!folded) return marked(line, query);
  const box = make("details", "log-folded");
  box.open = Boolean(query) && line.toLowerCase().includes(query);
  box.append(make("summary", "", words.report), marked(line, query));
  return box;
}

const asked = () => search.value.trim().toLowerCase();

function tell() {
  const found = text.querySelectorAll("mark").length;
  count.textContent = asked() ? words.matches.replace("{count}", found) : "";
  next.disabled = !found;
}

function drawAll() {
  text.replaceChildren(...lines.map((line) => lineNode(line, asked())));
  if (!lines.length) text.textContent = words.empty;
  at = -1;
  tell();
}

function jump() {
  const found = [...text.querySelectorAll("mark")];
  if (!found.length) return;
  found[at]?.classList.remove("here");
  at = (at + 1) % found.length;
  found[at].classList.add("here");
  found[at].scrollIntoView({ block: "nearest" });
}

function take(answer) {
  if (!answer?.lines || answer.source !== source) return;
  if (!answer.reset && (answer.run !== have.run || answer.job !== have.job || answer.from !== have.after)) return;
  const tail = text.scrollTop + text.clientHeight >= text.scrollHeight - 8;
  have = { run: answer.run, job: answer.job, after: answer.after };
  wait = 1000;
  if (answer.reset) {
    lines = answer.lines;
    drawAll();
  } else {
    if (!lines.length) text.replaceChildren();
    lines.push(...answer.lines);
    text.append(...answer.lines.map((line) => lineNode(line, asked())));
    tell();
  }
  for (; lines.length > MOST; lines.shift()) text.firstChild.remove();
  if (tail) text.scrollTop = text.scrollHeight; // who reads further up is left there
}

function ask() {
  if (!element.isConnected) return;
  if (visible()) {
    trigger("click", { act: "more", source, ...have });
    wait = Math.min(wait * 1.4, 5000);
  }
  clearTimeout(ask.timer);
  ask.timer = setTimeout(ask, wait);
}

function wake() {
  wait = 1000;
  clearTimeout(ask.timer);
  ask.timer = setTimeout(ask, 0);
}

chooser.addEventListener("change", () => {
  source = chooser.value;
  have = { ...have, run: "" };
  wake();
});
search.addEventListener("input", drawAll);
search.addEventListener("keydown", (event) => {
  if (event.key !== "Enter") return;
  event.preventDefault();
  jump();
});
next.addEventListener("click", jump);
document.addEventListener("visibilitychange", () => visible() && wake());
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && wake()).observe(root);
watch("value", () => take(props.value));
drawAll();
ask();
