// Step bar, status bar, theme switch, keyboard, files dropped anywhere, and the tour.
// FRAME = {language: words} stands in front of this script. Text is only ever set through textContent, never as HTML.
(() => {
  const words = () => FRAME[document.documentElement.lang.split("-")[0]] || FRAME.en;
  const steps = () => [...document.querySelectorAll("#steps [data-step]")];
  const tabButton = (key) => document.getElementById(`tab-${key}-button`);
  const current = () => document.querySelector("#steps [aria-selected=true]")?.dataset.step;
  const visible = (node) => Boolean(node && node.offsetParent);

  // ---- theme: as the system says, until the person chooses ----
  const THEME = "delta-theme";
  const stored = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const store = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private window: for this visit only */ } };
  let chosenTheme = stored(THEME);

  function applyTheme() {
    if (chosenTheme && document.body.classList.contains("dark") !== (chosenTheme === "dark"))
      document.body.classList.toggle("dark", chosenTheme === "dark");
  }

  function switchTheme() {
    chosenTheme = document.body.classList.contains("dark") ? "light" : "dark";
    store(THEME, chosenTheme);
    applyTheme();
  }

  // ---- steps ----
  function select(key, focus) {
    tabButton(key)?.click();
    const button = document.getElementById(`step-${key}`);
    if (focus) button?.focus();
    button?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // Gradio's tab buttons stay in the page, invisible: they say which tab is open, whoever opened it.
  function syncSteps() {
    for (const step of steps()) {
      const chosen = tabButton(step.dataset.step)?.getAttribute("aria-selected") === "true";
      if (step.getAttribute("aria-selected") !== String(chosen)) {
        step.setAttribute("aria-selected", String(chosen));
        step.tabIndex = chosen ? 0 : -1;
      }
    }
    showNext();
  }

  function showNext() {
    const button = document.querySelector("#status-bar [data-next]");
    if (!button) return;
    const keys = steps().map((step) => step.dataset.step);
    const key = keys[keys.indexOf(current()) + 1];
    const text = key ? `${words().next[key]} →` : "";
    if (button.textContent !== text) button.textContent = text;
    if (button.hidden !== !key) button.hidden = !key;
    button.dataset.next = key || "";
  }

  function showStates() {
    const bar = document.querySelector("#status-bar [data-steps]");
    if (!bar) return;
    const states = JSON.parse(bar.dataset.steps);
    for (const step of steps()) {
      const found = states[step.dataset.step];
      if (!found || (step.title === found.title && step.dataset.state === found.state)) continue;
      step.dataset.state = found.state;
      step.title = found.title;
      step.setAttribute("aria-description", found.title);
    }
    showNext();
  }

  // ---- keyboard: / searches, Ctrl+Enter starts or sends, Esc stops ----
  const SEARCHES = ["#library-search", "#results-search", "#log", "#method-search"];
  const field = (node) => node?.matches?.("input, textarea, select, [contenteditable=true]");
  const press = (selector) => {
    const button = document.querySelector(selector);
    if (!visible(button) || button.disabled) return false;
    button.click();
    return true;
  };

  function focusSearch() {
    const found = SEARCHES.map((id) => document.querySelector(`${id} input, ${id} textarea`)).find(visible);
    if (found) return found.focus();
    select("method");
    setTimeout(() => document.querySelector("#method-search input, #method-search textarea")?.focus(), 120);
  }

  function onKey(event) {
    if (event.defaultPrevented) return;
    if (event.key === "Escape" && endTour()) return;
    if (event.key === "/" && !field(event.target) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      focusSearch();
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (current() === "chat") press("#send") || press("#classify");
      else if (current() === "train") press("#start");
      else { select("train"); setTimeout(() => press("#start"), 150); }
    } else if (event.key === "Escape" && !field(event.target)) {
      if (current() === "chat") press("#chat-stop");
      else if (current() === "train") press("#stop");
    } else if (event.target.matches?.("#steps [data-step]") && ["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) {
      const all = steps(), at = all.indexOf(event.target);
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
      event.preventDefault();
      select(all[(to + all.length) % all.length].dataset.step, true);
    }
  }

  // ---- a file dropped anywhere becomes the data ----
  let depth = 0;
  const holdsFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  const overUpload = (event) => event.target.closest?.("[aria-dropeffect], .upload-container, [data-testid=chatbot]");

  function overlay(show) {
    let node = document.getElementById("drop-anywhere");
    if (!node && show) {
      node = document.createElement("div");
      node.id = "drop-anywhere";
      document.body.append(node);
    }
    if (node) { node.textContent = words().drop; node.hidden = !show; }
  }

  function onDrop(event) {
    if (!holdsFiles(event)) return;
    depth = 0;
    overlay(false);
    if (event.defaultPrevented || overUpload(event)) return; // a control of its own takes it, or it was refused
    const input = document.querySelector("#upload input[type=file]");
    if (!input || !event.dataTransfer.files.length) return;
    event.preventDefault();
    const files = new DataTransfer();
    files.items.add(event.dataTransfer.files[0]);
    select("data");
    input.files = files.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }

  // ---- tour ----
  const TOURED = "delta-tour";
  let hint = -1;

  function endTour() {
    const box = document.getElementById("tour");
    if (!box) return false;
    box.remove();
    document.querySelector(".tour-target")?.classList.remove("tour-target");
    hint = -1;
    store(TOURED, "seen");
    document.body.classList.add("toured");
    document.querySelector("[data-tour]")?.focus();
    return true;
  }

  function make(tag, text, className) {
    const node = document.createElement(tag);
    node.textContent = text;
    if (className) node.className = className;
    if (tag === "button") node.type = "button";
    return node;
  }

  function showHint(at) {
    const said = words().tour, found = said[at];
    if (!found) return endTour();
    hint = at;
    select(found.step);
    document.querySelector(".tour-target")?.classList.remove("tour-target");
    document.getElementById("tour")?.remove();
    const box = make("div", "", "tour-box");
    box.id = "tour";
    box.setAttribute("role", "dialog");
    const text = make("p", found.text);
    text.id = "tour-text";
    box.setAttribute("aria-labelledby", text.id);
    const row = make("div", "", "tour-row");
    const forward = make("button", at + 1 < said.length ? words().forward : words().finish, "small-button primary");
    const skip = make("button", words().skip, "small-button");
    forward.addEventListener("click", () => showHint(at + 1));
    skip.addEventListener("click", endTour);
    row.append(make("span", `${at + 1} / ${said.length}`, "tour-count"), ...(at + 1 < said.length ? [skip] : []), forward);
    box.append(text, row);
    document.body.append(box);
    setTimeout(() => {
      const target = document.querySelector(found.at);
      target?.classList.add("tour-target");
      target?.scrollIntoView({ block: "nearest" });
      forward.focus({ preventScroll: true });
    }, 150);
  }

  document.addEventListener("click", (event) => {
    const step = event.target.closest("#steps [data-step]");
    if (step) return select(step.dataset.step);
    const next = event.target.closest("#status-bar [data-next]");
    if (next) { select(next.dataset.next); window.scrollTo({ top: 0 }); return; }
    if (event.target.closest("[data-theme-switch]")) return switchTheme();
    if (event.target.closest("[data-tour]")) showHint(0);
  });
  document.addEventListener("keydown", onKey);
  document.addEventListener("dragenter", (event) => { if (holdsFiles(event)) { depth += 1; overlay(true); } });
  document.addEventListener("dragleave", (event) => { if (holdsFiles(event) && --depth <= 0) { depth = 0; overlay(false); } });
  document.addEventListener("dragover", (event) => { if (holdsFiles(event)) event.preventDefault(); });
  document.addEventListener("drop", onDrop);

  function begin() {
    if (stored(TOURED)) document.body.classList.add("toured");
    applyTheme();
    new MutationObserver(applyTheme).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    // Gradio builds and rebuilds its elements when it likes; what they say is read again soon after any change.
    let waiting = null;
    const soon = () => {
      waiting ??= requestAnimationFrame(() => {
        waiting = null;
        syncSteps();
        showStates();
      });
    };
    const watched = { subtree: true, childList: true, attributes: true, attributeFilter: ["aria-selected", "data-steps"] };
    new MutationObserver(soon).observe(document.body, watched);
  }
  if (document.body) begin();
  else document.addEventListener("DOMContentLoaded", begin);
})();
