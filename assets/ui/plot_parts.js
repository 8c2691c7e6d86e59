// What the components that draw with Plotly have in common. `script_address`, where its script is, stands in front of this.

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return node;
};
const say = (text, values) => text.replace(/\{(\w+)\}/g, (all, key) => values[key] ?? all);

function plotly() {
  if (window.Plotly) return Promise.resolve(window.Plotly);
  window.deltaPlotly ||= new Promise((done, fail) => {
    const script = make("script");
    script.src = script_address;
    script.onload = () => done(window.Plotly);
    script.onerror = () => fail(new Error(script_address));
    document.head.append(script);
  });
  return window.deltaPlotly;
}

function coloursOf(root) {
  const style = getComputedStyle(root);
  const get = (name) => style.getPropertyValue(name).trim();
  return { text: get("--body-text-color-subdued"), line: get("--border-color-primary"), paper: get("--block-background-fill"), strong: get("--body-text-color") };
}

// An exponential moving average over a fortieth of the points, corrected for its start as Adam corrects its moments.
function smoothed(values) {
  const keep = 1 - 2 / (Math.max(5, values.length / 40) + 1);
  let sum = 0, weight = 0;
  return values.map((value) => {
    sum = keep * sum + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return sum / weight;
  });
}
