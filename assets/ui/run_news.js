// Runs in the page's title, and a notice of the browser when one ends, if the person asked for that with the button.
// FRAME = {language: words} stands in front of this script. What runs there are, the status bar says in data-runs.
(() => {
  const OWN = "Delta Studio";
  const WANTED = "delta-notices";
  const GATHER = 200; // ms
  const SIGNS = { done: "✓", failed: "✗", stopped: "■", paused: "❚❚" };
  const words = () => FRAME[document.documentElement.lang.split("-")[0]] || FRAME.en;
  const stored = () => { try { return localStorage.getItem(WANTED); } catch { return null; } };
  const keep = (value) => { try { localStorage.setItem(WANTED, value); } catch { /* private window: for this visit only */ wanted = value; } };
  let wanted = null;
  let before = new Map(); // run → state, as of the last look
  let ended = null; // the run that ended last while the page was open
  let read = "";

  const live = (state) => state === "queued" || state === "running";
  const sentence = (run) => `${SIGNS[run.state]} ${words().states[run.state]} – ${run.name}`;
  const asked = () => (stored() ?? wanted) === "on" && window.Notification?.permission === "granted";

  function look() {
    const bar = document.querySelector("#status-bar [data-runs]");
    if (!bar || bar.dataset.runs === read) return;
    read = bar.dataset.runs;
    const runs = JSON.parse(read);
    for (const run of runs) {
      if (live(before.get(run.id)) && !live(run.state)) {
        ended = run;
        // One for all tabs of this browser: the tag replaces the same notice of another tab.
        if (asked()) new Notification(sentence(run), { tag: run.id, body: OWN });
      }
    }
    before = new Map(runs.map((run) => [run.id, run.state]));
    const running = runs.find((run) => run.state === "running");
    document.title = running ? `${running.share} · ${running.name} – ${OWN}` : ended ? `${sentence(ended)} – ${OWN}` : OWN;
  }

  function drawButton() {
    const button = document.querySelector("[data-notices]");
    if (!button) return;
    const refused = window.Notification?.permission === "denied";
    const pressed = String(asked());
    if (button.getAttribute("aria-pressed") !== pressed) button.setAttribute("aria-pressed", pressed);
    if (button.hidden !== !window.Notification) button.hidden = !window.Notification;
    const note = button.nextElementSibling;
    const text = refused ? note.dataset.refused : "";
    if (note.textContent !== text) note.textContent = text;
  }

  document.addEventListener("click", async (event) => {
    if (!event.target.closest("[data-notices]")) return;
    if (asked()) keep("off");
    else if ((await Notification.requestPermission()) === "granted") keep("on");
    drawButton();
  });

  function begin() {
    // Plots change the page hundreds of times a second, so changes are gathered for a while. Not in an animation frame: a
    // page in the background has none, and that is where the title is read.
    let waiting = null;
    const soon = () => {
      waiting ??= setTimeout(() => {
        waiting = null;
        look();
        drawButton();
      }, GATHER);
    };
    new MutationObserver(soon).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-runs"] });
    look();
  }
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);
})();
