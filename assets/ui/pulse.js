// Asks server.stamps_of now and then, and sends each event whose stamp has changed. `every` and `hidden_every` (ms; 0: never)
// stand in front of this script.

const panel = element.closest('[role="tabpanel"]');
const inSight = () => !panel || panel.offsetParent !== null;
let before = {};
let timer = null;
let asking = false;

async function look() {
  if (asking || !element.isConnected) return;
  clearTimeout(timer);
  asking = true;
  try {
    const now = await server.stamps_of(props.value || "");
    const changed = Object.keys(now).filter((event) => now[event] !== before[event]);
    before = now;
    for (const event of changed) trigger(event, {});
  } catch { /* the window is gone for a moment; the plots say so, and the next question is asked all the same */ }
  asking = false;
  goOn();
}

function goOn() {
  clearTimeout(timer);
  const wait = document.hidden ? hidden_every : every;
  if (wait && inSight()) timer = setTimeout(look, wait);
}

document.addEventListener("visibilitychange", () => (document.hidden ? goOn() : inSight() && look()));
if (panel) new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && look()).observe(panel);
else look();
