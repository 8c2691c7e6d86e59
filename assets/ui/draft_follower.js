// Triggers `tick` when the draft has changed and the tab is in sight. The value is the newest stamp of the draft, "ORIGIN:NUMBER",
// without its origin where more than one change is drawn at once. The page tells each stamp by an event of the document, and
// leaves the newest in its data. A tab that edits the draft (`edits`, a constant in front of this script) is busy and takes no input
// while it shows an older one.

const LONGEST = 3000; // ms after which it takes input again, whatever became of the drawing
const panel = element.closest('[role="tabpanel"]');
const inSight = () => panel.offsetParent !== null;
const setBusy = () => {
  if (!edits) return;
  panel.inert = true;
  panel.setAttribute("aria-busy", "true");
};
let newest = document.documentElement.dataset.draft || "";
let changes = newest ? 2 : 0;
if (changes) setBusy();

function look() {
  if (!changes || !inSight()) return;
  props.value = changes > 1 ? newest.replace(/^[^:]*/, "") : newest;
  changes = 0;
  trigger("tick");
  setTimeout(() => (panel.inert = false), LONGEST);
}

function note(event) {
  if (!element.isConnected) return document.removeEventListener(event.type, note);
  newest = event.detail;
  changes += 1;
  if (!inSight()) setBusy();
  look();
}

document.addEventListener(`draft-changed`, note);
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && look()).observe(panel);
