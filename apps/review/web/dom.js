// Small pieces every component uses. All outside text goes in through textContent.

const STATE_WORDS = { new: "new", accept: "accepted", reject: "rejected", unsure: "unsure", relabel: "relabelled", adjust: "moved", add: "added" };
const STATE_COLOURS = { new: "#f2b13c", accept: "#4cc38a", reject: "#8b95a3", unsure: "#b48cf2", relabel: "#4cb6e8", adjust: "#4cc38a", add: "#4cc38a" };

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined && text !== null) element.textContent = String(text);
  return element;
}

function stateBadge(state) {
  const badge = make("span", "mv-badge", STATE_WORDS[state] ?? state);
  badge.dataset.state = state;
  return badge;
}

// No model is certain: what would round to 0 or 100 is told as beyond the last digit. As in items.py.
function percent(probability) {
  if (probability === null || probability === undefined) return "";
  if (probability >= 0.9995) return "> 99.9 %";
  if (probability < 0.0005) return "< 0.1 %";
  return `${(100 * probability).toFixed(1)} %`;
}

function localTime(iso) {
  const when = new Date(iso);
  if (Number.isNaN(when.getTime())) return String(iso);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}`;
  return `${day} ${two(when.getHours())}:${two(when.getMinutes())}:${two(when.getSeconds())}`;
}

function isTyping(event) {
  const target = event.composedPath()[0];
  if (!(target instanceof Element)) return false;
  if (target.isContentEditable || target.closest("textarea, select, [role=combobox], [role=listbox]")) return true;
  return target.tagName === "INPUT" && target.type !== "range";
}

function isBareKey(event) {
  return !(event.ctrlKey || event.metaKey || event.altKey || isTyping(event));
}

async function failureOf(response) {
  try {
    return (await response.json()).message;
  } catch {
    return `the server answered ${response.status}; start the app with "medvit app"`;
  }
}
