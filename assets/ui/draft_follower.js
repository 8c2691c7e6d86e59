// Triggers `tick` when the draft has changed and the tab is in sight. The value is the newest stamp of the draft, "ORIGIN:NUMBER",
// without its origin where more than one change is drawn at once. The page tells each stamp by an event of the document, and
// leaves the newest in its data. A tab that shows an older draft is busy.

const LONGEST = 3000; // ms after which a tab is not busy any more, whatever became of the drawing
const panel = element.closest('[role="tabpanel"]');
const inSight = () => panel.offsetParent !== null;
const setBusy = (busy) => panel.setAttribute("aria-busy", String(busy));
let newest = document.documentElement.dataset.draft || "";
let changes = newest ? 2 : 0;
if (changes) setBusy(true);

function look() {
  if (!changes || !inSight()) return;
  props.value = changes > 1 ? newest.replace(/^[^:]*/, "") : newest;
  changes = 0;
  setBusy(true);
  trigger("tick");
  setTimeout(() => changes || setBusy(false), LONGEST);
}

function note(event) {
  if (!element.isConnected) return document.removeEventListener(event.type, note);
  newest = event.detail;
  changes += 1;
  if (!inSight()) setBusy(true);
  look();
}

document.addEventListener(`draft-changed`, note);
new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && look()).observe(panel);
