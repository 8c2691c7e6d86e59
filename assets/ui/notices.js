// Shows the errors of handlers, and refuses files that are too large. NOTICES = {limit, words} stands in front of this script.
// Text is only ever set through textContent, never as HTML.
(() => {
  const SECONDS = 15;
  const words = () => NOTICES.words[document.documentElement.lang.split("-")[0]] || NOTICES.words.en;
  let timer = null;

  function close() {
    clearTimeout(timer);
    document.getElementById("said")?.replaceChildren();
  }

  function place() {
    let node = document.getElementById("said");
    if (!node) {
      node = document.createElement("div");
      node.id = "said";
      node.setAttribute("role", "alert");
      node.addEventListener("pointerenter", () => clearTimeout(timer));
      node.addEventListener("pointerleave", start);
      document.body.append(node);
    }
    return node;
  }

  function start() {
    clearTimeout(timer);
    timer = setTimeout(close, SECONDS * 1000);
  }

  function make(tag, text, className) {
    const node = document.createElement(tag);
    node.textContent = text;
    if (className) node.className = className;
    return node;
  }

  // One at a time: the newest is the one that answers what was just done. The same again (a timer's) is not said again.
  function say(title, text) {
    start();
    if (document.querySelector("#said p")?.textContent === text) return;
    const box = document.createElement("div");
    box.className = "notice bad";
    const button = make("button", "×");
    button.type = "button";
    button.setAttribute("aria-label", words().close);
    button.addEventListener("click", close);
    box.append(make("strong", title), button, make("p", text));
    place().replaceChildren(box);
  }

  // The server escapes its sentences, because Gradio's own notices are HTML.
  const plain = (html) => new DOMParser().parseFromString(html, "text/html").documentElement.textContent;

  const ask = window.fetch;
  window.fetch = async function (...given) {
    const answer = await ask.apply(this, given);
    if (!answer.ok && answer.url.includes("/gradio_api/run/")) {
      answer.clone().json().then((said) => {
        if (said.error && said.visible !== false) say(said.title || words().title, plain(said.error));
      }).catch(() => {});
    }
    return answer;
  };

  function refuse(event, files) {
    const large = [...(files || [])].find((file) => file.size > NOTICES.limit);
    if (!large) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (event.target.type === "file") event.target.value = "";
    const values = { name: large.name, size: Math.ceil(large.size / 2 ** 20), limit: NOTICES.limit / 2 ** 20 };
    say(words().title, words().large.replace(/\{(\w+)\}/g, (_, key) => values[key]));
  }
  document.addEventListener("draft-changed", close); // what was wrong is behind the person who has gone on
  // In front of Gradio's own listeners, which would send the file.
  window.addEventListener("change", (event) => event.target.type === "file" && refuse(event, event.target.files), true);
  window.addEventListener("drop", (event) => refuse(event, event.dataTransfer?.files), true);
})();
