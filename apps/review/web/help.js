// The overlay that lists all keys, those of the page that is open first.

const HELP = {
  "Decide": [["a", "accept"], ["x", "reject"], ["u", "unsure"], ["1 – 9", "image: the class with this number"], ["r", "relabel: choose or type a label"],
    ["c", "reason"], ["t", "note"], ["z", "undo, also back in the case before"], ["s", "skip this case"]],
  "Go": [["n", "next finding"], ["p", "previous finding"], ["g", "next case"], ["Tab", "to the next button or field"], ["Esc", "leave a field, a box, this list"], ["?", "this list"]],
  "Image": [["wheel, + −", "zoom"], ["drag, arrows", "pan"], ["0", "fit"], ["b", "boxes on and off"], ["h", "heat map on and off"], ["w", "compare with another picture of the part"],
    ["d", "draw a box; Enter puts one in the middle"], ["e", "adjust the chosen box"], ["arrows", "move the box; Shift resizes, Ctrl takes 10 pixels"], ["Enter", "save the box"]],
  "Scan": [["1 – 5", "window"], ["wheel, ↑ ↓", "next and previous slice"], ["PgUp PgDn", "ten slices"], ["drag", "crosshair; right button or Shift: window"],
    ["Ctrl + wheel", "zoom"], ["f", "fit"], ["e", "one plane large"], ["m", "slab of largest values"], ["h", "findings on and off"], ["l", "measure a length"],
    ["d", "measure a diameter, add it as a finding"], ["Esc", "back to the crosshair"]],
};

// Keys of the viewer that is not on the page are left out.
function showHelp(dialog) {
  for (const [name, viewer] of [["Image", ".mv-image"], ["Scan", ".mv-ct"]]) {
    const other = document.querySelector(viewer === ".mv-ct" ? ".mv-image" : ".mv-ct");
    dialog.querySelector(`[data-page=${name}]`).hidden = Boolean(other) && !document.querySelector(viewer);
  }
  dialog.showModal();
}

function helpDialog() {
  const dialog = make("dialog", "mv-help");
  dialog.setAttribute("aria-labelledby", "mv-help-title");
  const head = make("header", "mv-help-head");
  const title = make("h2", "", "Keys");
  title.id = "mv-help-title";
  const close = make("button", "mv-tool", "Close");
  close.addEventListener("click", () => dialog.close());
  head.append(title, close);
  const groups = make("div", "mv-help-groups");
  for (const [name, keys] of Object.entries(HELP)) {
    const group = make("section", "mv-help-group");
    const list = make("dl", "");
    for (const [key, text] of keys) {
      const row = make("div", "mv-help-row");
      const term = make("dt", "");
      term.append(make("kbd", "mv-key", key));
      row.append(term, make("dd", "", text));
      list.append(row);
    }
    group.dataset.page = name;
    group.append(make("h3", "mv-heading", name), list);
    groups.append(group);
  }
  dialog.append(head, groups, make("p", "mv-caption", "Keys are silent while you type. A decision is saved before the next case shows."));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}
