// Keys of the reading desk, and the reader's name kept in this browser.

const NAME_KEY = "medvit.reader";
const KEYS = { a: "accept", x: "reject", u: "unsure", z: "undo", n: "next", p: "previous" };

const DRAWING_MS = 50;

function isDeskKey(event) {
  return event.key.toLowerCase() in KEYS || /^[1-9]$/.test(event.key);
}

function buttonFor(event) {
  const action = KEYS[event.key.toLowerCase()];
  if (action) return document.querySelector(`[class*="st-key-desk_${action}_"] button, .st-key-desk_${action} button`);
  return /^[1-9]$/.test(event.key) ? document.querySelector(`.mv-palette [data-digit="${event.key}"]`) : null;
}

function rememberReader(root, data, send) {
  if (data.reader) localStorage.setItem(NAME_KEY, data.reader);
  else if (root.dataset.reader) localStorage.removeItem(NAME_KEY);
  else if (!root.dataset.asked) {
    const name = localStorage.getItem(NAME_KEY);
    if (name) send("remembered", name);
  }
  // A name counts once Enter was pressed; from then on keys decide.
  const field = document.activeElement?.closest(".st-key-reader_bar input");
  if (field && data.reader && data.reader !== root.dataset.reader) field.blur();
  root.dataset.asked = "yes";
  root.dataset.reader = data.reader;
}

// Enter ends typing a name or a note; from then on keys decide again.
function leaveField(event) {
  if (event.key !== "Enter" || event.target.tagName !== "INPUT" || event.target.role === "combobox") return;
  if (event.target.closest(".st-key-reader_bar, .st-key-panel")) setTimeout(() => event.target.blur(), 0);
}

function shownFinding() {
  return document.querySelector(".mv-card")?.dataset.about ?? "";
}

// One key, one decision: a second key waits for the answer to the first, and a key pressed
// while its button is still being drawn counts for the finding that was shown then.
function press(root, event, about, patience) {
  const button = buttonFor(event);
  if (!button && patience > 0 && about && about === shownFinding()) {
    setTimeout(() => press(root, event, about, patience - 1), DRAWING_MS);
    return;
  }
  if (!button || button.disabled || root.dataset.used === root.dataset.turn) return;
  root.dataset.used = root.dataset.turn;
  button.click();
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".mv-desk");
  rememberReader(root, data, setTriggerValue);
  root.dataset.turn = String(data.turn);
  const onKey = (event) => {
    leaveField(event);
    if (isBareKey(event) && !event.repeat && isDeskKey(event)) press(root, event, shownFinding(), 60);
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
