// Keys of the reading desk, and the reader's name kept in this browser.

const NAME_KEY = "medvit.reader";
const KEYS = { a: "accept", x: "reject", u: "unsure", z: "undo", n: "next", p: "previous" };

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
  root.dataset.asked = "yes";
  root.dataset.reader = data.reader;
}

// Enter ends typing a name or a note; from then on keys decide again.
function leaveField(event) {
  if (event.key !== "Enter" || event.target.tagName !== "INPUT" || event.target.role === "combobox") return;
  if (event.target.closest(".st-key-reader_bar, .st-key-panel")) setTimeout(() => event.target.blur(), 0);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".mv-desk");
  rememberReader(root, data, setTriggerValue);
  root.dataset.turn = String(data.turn);
  const onKey = (event) => {
    leaveField(event);
    if (!isBareKey(event) || event.repeat) return;
    const button = buttonFor(event);
    // One key, one decision: a second key waits until the page has answered the first.
    if (!button || button.disabled || root.dataset.used === root.dataset.turn) return;
    event.preventDefault();
    root.dataset.used = root.dataset.turn;
    button.click();
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
