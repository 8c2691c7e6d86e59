// Draws a form and keeps props.value = {fields, values: {key: value}, errors, locked}, whole, so that it can be drawn again from it; runs
// once when the component appears. The server may send any part of it; `words` stands in front of this script.
// What the person is typing is theirs: an answer of the server changes every field except the one being edited.
// Text is only ever set through textContent and value, never as HTML.

const uid = "f" + Math.random().toString(36).slice(2, 9);
const root = element.querySelector(".option-form");
let inputs = {}; // key → {field, read(), write(value), focusable, error, reset}
let draft = {};
let fresh = false; // whether the person changed something that the server has not heard of
const state = { fields: [], errors: {}, locked: false };
let editing = null; // the key being typed into, since it got the focus
let timer = null;

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
};
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

function shown(value) {
  if (value === null || value === undefined) return "";
  return Array.isArray(value) ? value.join(", ") : String(value);
}

// A number where it is one; anything else stays the text it is, and Python says what is wrong with it.
function parsed(field, text) {
  const trimmed = text.trim();
  if (field.kind === "text") return trimmed === "" && field.optional ? null : text;
  if (trimmed === "") return null;
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(trimmed) ? Number(trimmed) : trimmed;
}

const whole = () => ({ ...state, values: { ...draft } });

function commit() {
  clearTimeout(timer);
  timer = null;
  if (!fresh) return;
  fresh = false;
  props.value = whole();
  trigger("input");
}

function again() {
  fresh = true;
  clearTimeout(timer);
  timer = setTimeout(commit, 400);
}

function edited(key, at_once) {
  const value = inputs[key].read();
  fresh = fresh || !same(draft[key], value);
  draft = { ...draft, [key]: value };
  markReset(key);
  clearTimeout(timer);
  if (at_once) commit();
  else timer = setTimeout(commit, 400);
}

function listen(key, node, at_once) {
  node.addEventListener("input", () => {
    editing = key;
    edited(key, at_once);
  });
  node.addEventListener("change", () => edited(key, true));
  node.addEventListener("blur", () => {
    if (editing === key) editing = null;
  });
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && node.tagName === "INPUT") {
      event.preventDefault();
      edited(key, true);
    }
  });
}

function textControl(field, id) {
  const input = make("input", "of-input");
  Object.assign(input, { type: "text", id, autocomplete: "off", spellcheck: false });
  if (field.kind === "integer") input.inputMode = "numeric";
  if (field.kind === "number") input.inputMode = "decimal";
  if (field.optional) input.placeholder = words.optional || "";
  listen(field.key, input, false);
  return { node: input, focusable: input, read: () => parsed(field, input.value), write: (value) => (input.value = shown(value)) };
}

function sliderControl(field, id) {
  const control = textControl(field, id);
  const range = make("input", "of-range");
  const step = field.kind === "integer" ? 1 : (field.maximum - field.minimum) / 100;
  Object.assign(range, { type: "range", min: field.minimum, max: field.maximum, step });
  range.tabIndex = -1; // a handle for the mouse; keyboard and screen reader have the field beside it
  range.setAttribute("aria-hidden", "true");
  range.addEventListener("input", () => {
    control.focusable.value = shown(Number(Number(range.value).toPrecision(6)));
    edited(field.key, false);
  });
  range.addEventListener("change", () => edited(field.key, true));
  control.focusable.addEventListener("input", () => (range.value = control.focusable.value));
  const write = control.write;
  const both = make("div", "of-slider");
  both.append(range, control.node);
  return { ...control, node: both, write: (value) => (write(value), (range.value = value ?? field.minimum)) };
}

function switchControl(field, id) {
  const input = make("input", "of-toggle");
  Object.assign(input, { type: "checkbox", id });
  input.setAttribute("role", "switch");
  listen(field.key, input, true);
  return { node: input, focusable: input, read: () => input.checked, write: (value) => (input.checked = Boolean(value)) };
}

function gone(name) {
  return (words.gone || "{name}").replace("{name}", name);
}

function choiceControl(field, id) {
  const select = make("select", "of-input of-select");
  select.id = id;
  const add = (value, label) => {
    const item = make("option", "", label);
    item.value = value;
    select.append(item);
  };
  if (field.optional) add("", (field.adapters ? words.chooseAdapter : words.none) || "–");
  for (const choice of field.choices) add(choice.value, choice.label);
  listen(field.key, select, true);
  const read = () => (select.value === "" ? null : select.value);
  const write = (value) => {
    const text = shown(value);
    if (field.adapters && text && ![...select.options].some((item) => item.value === text)) add(text, gone(text));
    select.value = text;
  };
  return { node: withoutAny(field, select), focusable: select, read, write };
}

// Where the library has nothing to choose, a sentence stands below that says how to get it.
function withoutAny(field, node) {
  if (!field.adapters || field.choices.length) return node;
  const box = make("div", "of-several");
  box.append(node, make("p", "of-none", words.noAdapter || ""));
  return box;
}

// Several of the choices, as boxes to tick. The value is the list of those ticked, in the order of the choices.
function severalControl(field, id) {
  const box = make("div", "of-several");
  box.id = id;
  box.tabIndex = -1;
  box.setAttribute("role", "group");
  box.setAttribute("aria-labelledby", `${id}-label`);
  const add = (value, label) => {
    const row = make("label", "of-tick");
    const input = make("input");
    Object.assign(input, { type: "checkbox", value });
    listen(field.key, input, true);
    row.append(input, make("span", "", label));
    box.append(row);
  };
  for (const choice of field.choices) add(choice.value, choice.label);
  const ticks = () => [...box.querySelectorAll("input")];
  const read = () => ticks().filter((input) => input.checked).map((input) => input.value);
  const write = (value) => {
    const wanted = Array.isArray(value) ? value : [];
    for (const name of wanted) if (!ticks().some((input) => input.value === name)) add(name, gone(name));
    for (const input of ticks()) input.checked = wanted.includes(input.value);
  };
  return { node: withoutAny(field, box), focusable: box, read, write };
}

function control(field, id) {
  if (field.kind === "switch") return switchControl(field, id);
  if (field.kind === "choice") return choiceControl(field, id);
  if (field.kind === "several") return severalControl(field, id);
  const bounded = field.minimum !== null && field.maximum !== null;
  return field.slider && bounded && field.kind !== "text" ? sliderControl(field, id) : textControl(field, id);
}

function resetButton(field) {
  const button = make("button", "of-reset", "↺");
  const label = (words.reset || "Default: {value}").replace("{value}", shown(field.default) || (field.adapters ? words.chooseAdapter : words.none) || "–");
  Object.assign(button, { type: "button", title: label, hidden: true });
  button.setAttribute("aria-label", label);
  button.setAttribute("aria-describedby", `${uid}-${field.key}-label`);
  button.addEventListener("click", () => {
    inputs[field.key].write(field.default);
    edited(field.key, true);
    inputs[field.key].focusable.focus();
  });
  return button;
}

function drawField(field) {
  const id = `${uid}-${field.key}`;
  const box = make("div", `of-field of-${field.kind}`);
  box.dataset.key = field.key;
  const label = make("label", "of-label", field.title);
  Object.assign(label, { htmlFor: id, id: `${id}-label` });
  if (field.unit) label.append(" ", make("span", "of-unit", `(${field.unit})`));
  const help = make("p", "of-help", field.help);
  help.id = `${id}-help`;
  const error = make("p", "of-error");
  Object.assign(error, { id: `${id}-error`, hidden: true });
  error.setAttribute("aria-live", "polite");
  const made = control(field, id);
  made.focusable.setAttribute("aria-describedby", `${help.id} ${error.id}`);
  const reset = resetButton(field);
  const head = make("div", "of-head");
  if (field.kind === "switch") head.append(made.node, label, reset);
  else head.append(label, reset);
  box.append(head, help);
  if (field.kind !== "switch") box.append(made.node);
  box.append(error);
  inputs[field.key] = { ...made, field, error, reset };
  return box;
}

function drawGroups(fields, into) {
  let grid = null;
  let group = null;
  for (const field of fields) {
    if (grid === null || field.group !== group) {
      group = field.group;
      const set = make("fieldset", "of-group");
      if (group) set.append(make("legend", "", group));
      grid = make("div", "of-grid");
      set.append(grid);
      into.append(set);
    }
    grid.append(drawField(field));
  }
}

function draw() {
  const open = root.querySelector("details")?.open;
  const focused = Object.keys(inputs).find((key) => inputs[key].focusable === document.activeElement);
  inputs = {};
  editing = null;
  root.replaceChildren(make("p", "of-error of-whole"));
  root.firstChild.setAttribute("aria-live", "polite");
  const fields = state.fields;
  drawGroups(fields.filter((field) => !field.advanced), root);
  const advanced = fields.filter((field) => field.advanced);
  if (advanced.length) {
    const details = make("details", "of-advanced");
    details.open = Boolean(open);
    details.append(make("summary", "", `${words.advanced || "Advanced"} (${advanced.length})`));
    drawGroups(advanced, details);
    root.append(details);
  }
  if (!fields.length) root.append(make("p", "of-help", words.empty || ""));
  fill();
  complain();
  inputs[focused]?.focusable.focus();
}

function markReset(key) {
  inputs[key].reset.hidden = same(draft[key] ?? null, inputs[key].field.default ?? null);
}

function fill() {
  const given = props.value?.values || draft;
  for (const [key, input] of Object.entries(inputs)) {
    if (key === editing && input.focusable === document.activeElement) {
      if (!same(draft[key], given[key])) again(); // shown is what counts: the server has to hear of it after all
      continue;
    }
    const value = key in given ? given[key] : input.field.default;
    draft[key] = value;
    if (!same(input.read(), value)) input.write(value);
    markReset(key);
  }
  for (const key of Object.keys(draft)) if (!(key in inputs)) delete draft[key];
}

function complain() {
  const errors = { ...state.errors };
  for (const [key, input] of Object.entries(inputs)) {
    const text = errors[key] || "";
    delete errors[key];
    input.error.textContent = text;
    input.error.hidden = !text;
    input.focusable.toggleAttribute("aria-invalid", Boolean(text));
    if (text) input.focusable.setAttribute("aria-invalid", "true");
    const details = text && input.error.closest("details");
    if (details) details.open = true;
  }
  const whole = root.querySelector(".of-whole");
  whole.textContent = Object.values(errors).join(" ");
  whole.hidden = !whole.textContent;
}

function enable() {
  for (const input of Object.values(inputs)) input.focusable.disabled = state.locked === true;
  root.querySelectorAll(".of-range, .of-reset, .of-tick input").forEach((node) => (node.disabled = state.locked === true));
}

function redraw() {
  draw();
  enable();
}

function take() {
  const given = props.value || {};
  const other = given.fields && !same(given.fields, state.fields);
  for (const key of Object.keys(state)) if (given[key] !== undefined) state[key] = given[key];
  if (other) draft = {};
  if (other) redraw();
  else {
    if (given.values) fill();
    complain();
    enable();
  }
  if (!same(props.value, whole())) props.value = whole();
}

redraw();
take();
// Not watch called with a quoted name: Gradio takes any quoted word in this script for an event of the component, and would send a
// listener of that name along with each update.
for (const [name, react] of Object.entries({ value: take })) watch(name, react);
