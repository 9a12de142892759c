// Keys of the reading desk, the reader's name and the theme kept in this browser, and help.

const NAME_KEY = "medvit.reader";
const THEME_KEY = "medvit.theme";
const KEYS = { a: "accept", x: "reject", u: "unsure", s: "skip", z: "undo", n: "next", p: "previous" };
const FIELDS = { r: ".st-key-panel [class*='st-key-label_'] input", t: ".st-key-panel [class*='st-key-note_'] input", c: ".st-key-panel [class*='st-key-reason_'] input" };

const DRAWING_MS = 50;
const CHOOSING_MS = 100;

function isDeskKey(event) {
  return event.key.toLowerCase() in KEYS || event.key.toLowerCase() === "g" || /^[1-9]$/.test(event.key);
}

// Buttons of decisions carry the finding that they were drawn for: while the next one is being
// drawn, those of the last one are still there.
function buttonFor(event, about) {
  const key = event.key.toLowerCase();
  const action = KEYS[key];
  const drawnFor = about.replace(/[^a-zA-Z0-9_-]/g, "-"); // as Streamlit names the class of a key
  if (action) return document.querySelector(`.st-key-desk_${action}_${drawnFor} button, .st-key-desk_${action} button`);
  if (key === "g") return document.querySelector(".st-key-next_case button");
  return /^[1-9]$/.test(key) ? document.querySelector(`.mv-palette [data-digit="${key}"]`) : null;
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

// Enter ends typing a name or a note, and choosing from a list; Escape leaves a name or a note.
// From then on keys decide again.
function leaveField(event) {
  if (!["Enter", "Escape"].includes(event.key) || event.target.tagName !== "INPUT") return;
  const isList = event.target.role === "combobox";
  if (isList && event.key === "Escape") return; // closes the list, or clears what was chosen
  if (event.target.closest(".st-key-reader_bar, .st-key-panel")) setTimeout(() => event.target.blur(), isList ? CHOOSING_MS : 0);
}

function goToField(event) {
  const field = document.querySelector(FIELDS[event.key.toLowerCase()] ?? "none");
  if (!field) return;
  event.preventDefault();
  field.focus();
}

function shownFinding() {
  return document.querySelector(".mv-card")?.dataset.about ?? "";
}

// One key, one decision: a second key waits for the answer to the first, and a key counts for
// the finding that was shown when it was pressed, also while its button is still being drawn.
function press(root, event, about, patience) {
  if (about !== shownFinding()) return;
  const button = buttonFor(event, about);
  const isAnswered = root.dataset.used !== root.dataset.turn;
  if (button?.disabled) return;
  if (button && isAnswered) {
    root.dataset.used = root.dataset.turn;
    button.click();
  } else if (patience > 0 && about) setTimeout(() => press(root, event, about, patience - 1), DRAWING_MS);
}

function switchTheme() {
  const now = document.documentElement.dataset.theme === "light" ? "dark" : "light";
  localStorage.setItem(THEME_KEY, now);
  location.reload();
}

function buildDesk(root) {
  root.help = helpDialog();
  const theme = make("button", "mv-tool mv-icon", "◐");
  theme.title = "Light or dark";
  theme.setAttribute("aria-label", "Switch between light and dark");
  theme.addEventListener("click", switchTheme);
  const help = make("button", "mv-tool mv-icon", "?");
  help.title = "All keys (?)";
  help.setAttribute("aria-label", "Show all keys");
  help.addEventListener("click", () => showHelp(root.help));
  root.replaceChildren(help, theme, root.help);
}

export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".mv-desk");
  if (!root.help) buildDesk(root);
  rememberReader(root, data, setTriggerValue);
  root.dataset.turn = String(data.turn);
  const onKey = (event) => {
    leaveField(event);
    if (!isBareKey(event) || event.repeat || root.help.open) return;
    if (event.key === "?") showHelp(root.help);
    else if (isDeskKey(event)) press(root, event, shownFinding(), 60);
    else goToField(event);
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}
