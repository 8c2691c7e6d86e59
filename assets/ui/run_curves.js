// Draws one metric of several runs in one chart; runs once when the component appears.
// Asks server.more for the curves of the runs named by props.value, and hands them to Plotly.
// `known`, `words`, `most`, `script_address` and plot_parts.js stand in front of this script.

const DASHES = ["solid", "dash", "dot", "dashdot"]; // with eight colours: 32 runs that can be told apart
const COLOURS = 8; // --run-0 … --run-7 of the style sheet
const AXES = ["step", "tokens", "seconds"];
const MARKED = 60; // points up to which each is marked, and nothing is smoothed
const root = element.querySelector(".run-curves");
const view = { metric: "loss", axis: "step", log: undefined, smooth: true, mean: false };
let runs = [];
let groups = [];
let found = { stamp: "", metrics: [], curves: {}, means: [] };
let timer = null;

const visible = () => !document.hidden && root.offsetParent !== null;
const look = () => known.find((item) => item.key === view.metric) ?? { key: view.metric, title: view.metric, unit: "", scale: 1, zero: false, log: true, smooth: true };

// ---- asking ---------------------------------------------------------------------------------------------------------

async function ask() {
  clearTimeout(timer);
  if (!element.isConnected || !runs.length || !visible()) return;
  const request = { runs: runs.map((run) => run.id), groups: view.mean ? groups.map((group) => group.runs) : [], metric: view.metric, axis: view.axis, seen: found.stamp };
  const asked = JSON.stringify(request.runs) + view.metric + view.axis + view.mean;
  let wait = 4000;
  try {
    const answer = await server.more(request);
    if (asked !== JSON.stringify(runs.map((run) => run.id)) + view.metric + view.axis + view.mean) return;
    note(answer.more ? words.loading : "");
    if (answer.curves) {
      found = answer;
      await draw();
    }
    wait = answer.more ? 50 : answer.live ? 3000 : 0;
  } catch (error) {
    note(words.waiting);
  }
  if (wait) timer = setTimeout(ask, wait);
}

function show(value) {
  ({ runs, groups } = value ? JSON.parse(value) : { runs: [], groups: [] });
  found = { ...found, stamp: "" };
  root.hidden = !runs.length;
  meanSwitch.hidden = !groups.length;
  if (!groups.length) view.mean = false;
  ask();
}

function choose(changes) {
  Object.assign(view, changes);
  found = { ...found, stamp: "" };
  ask();
}

// ---- drawing --------------------------------------------------------------------------------------------------------

function note(text) {
  if (status.textContent !== text) status.textContent = text;
}

function isLog() {
  if (!look().log) return false;
  if (view.log !== undefined) return view.log;
  let low = Infinity, high = 0;
  for (const [, y] of Object.values(found.curves)) for (const value of y) if (value < low) low = value; else if (value > high) high = value;
  return low > 0 && high / low > 30; // as in the plots of one run
}

function trace(name, colour, x, y) {
  const style = getComputedStyle(root);
  const few = x.length <= MARKED;
  const line = { color: style.getPropertyValue(`--run-${colour % COLOURS}`).trim(), dash: DASHES[Math.floor(colour / COLOURS) % DASHES.length], width: 1.8 };
  const base = { name: escaped(name), x, y: y.map((value) => value * look().scale), type: "scatter", mode: few ? "lines+markers" : "lines", marker: { size: 5 }, line, hovertemplate: `%{y:.5~g} ${look().unit}<extra>${escaped(name)}</extra>` };
  return look().smooth && view.smooth && !few ? { ...base, y: smoothed(base.y) } : base;
}

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

function band(colour, x, low, high) {
  const { line } = trace("", colour, [], []);
  const scale = look().scale;
  const edge = { x, type: "scatter", mode: "lines", line: { ...line, width: 0 }, hoverinfo: "skip", showlegend: false };
  const soft = (values) => (look().smooth && view.smooth && x.length > MARKED ? smoothed(values) : values);
  return [
    { ...edge, y: soft(low.map((value) => value * scale)) },
    { ...edge, y: soft(high.map((value) => value * scale)), fill: "tonexty", fillcolor: `color-mix(in srgb, ${line.color} 18%, transparent)` },
  ];
}

function traces() {
  const averaged = new Set(view.mean ? groups.filter((_, at) => found.means[at]?.length).flatMap((group) => group.runs) : []);
  const single = runs.filter((run) => !averaged.has(run.id) && found.curves[run.id]).map((run) => trace(run.name, run.colour, ...found.curves[run.id]));
  const means = view.mean ? groups.flatMap((group, at) => {
    if (!found.means[at]?.length) return [];
    const [x, mean, low, high] = found.means[at];
    const colour = runs.find((run) => run.id === group.runs[0])?.colour ?? at;
    return [...band(colour, x, low, high), trace(group.name, colour, x, mean)];
  }) : [];
  return [...means, ...single];
}

function layout(count) {
  const paint = coloursOf(root);
  const axis = { gridcolor: paint.line, zerolinecolor: paint.line, linecolor: paint.line, automargin: true, ticks: "" };
  const narrow = root.clientWidth < 640;
  return {
    uirevision: `${view.metric} ${view.axis} ${runs.map((run) => run.id).join()}`, height: 340 + (narrow ? 22 * Math.min(count, 8) : 0),
    margin: { l: 52, r: 12, t: 8, b: 38 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(root).fontFamily, size: 12, color: paint.text }, hovermode: "closest",
    hoverlabel: { bgcolor: paint.paper, bordercolor: paint.line, font: { color: paint.strong } },
    xaxis: { ...axis, title: { text: words[view.axis], standoff: 6 }, rangemode: "nonnegative", tickformat: "~s", showgrid: false },
    yaxis: { ...axis, exponentformat: "e", rangemode: look().zero ? "tozero" : "normal", nticks: 7, ...(isLog() ? { type: "log", dtick: 1 } : { type: "linear" }) },
    showlegend: true, legend: { font: { color: paint.strong }, traceorder: "normal", ...(narrow ? { orientation: "h", x: 0, y: -0.2, yanchor: "top" } : { x: 1.01, y: 1 }) },
  };
}

async function draw() {
  fill(metricChoice, found.metrics.map((key) => [key, known.find((item) => item.key === key)?.title ?? key]), view.metric);
  if (found.metrics.length && !found.metrics.includes(view.metric)) return choose({ metric: found.metrics[0] });
  logSwitch.hidden = !look().log;
  smoothSwitch.hidden = !look().smooth;
  logSwitch.setAttribute("aria-pressed", String(isLog()));
  smoothSwitch.setAttribute("aria-pressed", String(view.smooth));
  meanSwitch.setAttribute("aria-pressed", String(view.mean));
  help.textContent = [view.mean && words.band, runs.length > most && say(words.first, { count: most })].filter(Boolean).join(" ");
  const drawn = traces();
  empty.hidden = drawn.length > 0 || Boolean(found.more);
  plot.hidden = !drawn.length;
  if (!drawn.length) return;
  try {
    const Plotly = await plotly();
    const unit = look().unit ? ` (${look().unit})` : "";
    plot.setAttribute("aria-label", `${look().title}${unit}: ${runs.map((run) => run.name).join(", ")}`);
    const shape = layout(drawn.length);
    plot.style.height = `${shape.height}px`; // which Plotly asks for when the window changes its width
    await Plotly.react(plot, drawn, shape, { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset" });
    root.dataset.drawn = `${view.metric} ${view.axis} ${drawn.length}`;
  } catch (error) {
    note(say(words.failed, { detail: error.message }));
  }
}

// ---- controls -------------------------------------------------------------------------------------------------------

function fill(select, options, chosen) {
  const now = JSON.stringify([options, chosen]);
  if (select.dataset.now === now) return;
  select.dataset.now = now;
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value, false, value === chosen)));
}

function choice(title, name) {
  const label = make("label", "rc-choice", `${title} `);
  const select = make("select");
  select.name = name;
  select.addEventListener("change", () => choose({ [name]: select.value, log: undefined }));
  label.append(select);
  return [label, select];
}

function toggle(name) {
  const button = make("button", "lp-button", words[name]);
  button.type = "button";
  button.dataset.kind = name;
  button.addEventListener("click", () => choose({ [name]: button.getAttribute("aria-pressed") !== "true" }));
  return button;
}

const status = make("p", "lp-status");
status.setAttribute("role", "status");
const [metricLabel, metricChoice] = choice(words.metric, "metric");
const [axisLabel, axisChoice] = choice(words.axis, "axis");
fill(axisChoice, AXES.map((axis) => [axis, words[axis]]), view.axis);
const [logSwitch, smoothSwitch, meanSwitch] = ["log", "smooth", "mean"].map(toggle);
const bar = make("div", "rc-bar");
bar.append(metricLabel, axisLabel, logSwitch, smoothSwitch, meanSwitch);
const empty = make("p", "lp-empty", words.nothing);
const plot = make("div", "rc-plot");
plot.setAttribute("role", "img");
const help = make("p", "help");
root.replaceChildren(bar, status, empty, plot, help);

document.addEventListener("visibilitychange", () => visible() && ask());
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && (found.metrics.length && draw(), ask())).observe(root);
new MutationObserver(() => found.metrics.length && visible() && draw()).observe(document.body, { attributes: true, attributeFilter: ["class"] }); // light ↔ dark
watch("value", () => show(props.value || ""));
show(props.value || "");
