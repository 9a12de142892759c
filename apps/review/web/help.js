// The overlay that lists all keys, those of the page that is open first.

const HELP = {
  "Decide": [["a", "accept"], ["x", "reject"], ["u", "unsure"], ["1 – 9", "image: the class with this number"], ["r", "relabel: choose or type a label"],
    ["c", "reason"], ["t", "note"], ["z", "undo, also back in the case before"], ["s", "skip this case"]],
  "Go": [["n", "next finding"], ["p", "previous finding"], ["g", "next case"], ["Tab", "to the next button or field"], ["Esc", "leave a field, a box, this list"], ["?", "this list"]],
  "Image": [["wheel, + −", "zoom"], ["drag, arrows", "pan"], ["0", "fit"], ["b", "boxes on and off"], ["h", "heat map on and off"], ["w", "compare with another picture of the part"],
    ["d", "draw a box; Enter puts one in the middle"], ["e", "adjust the chosen box"], ["arrows", "move the box; Shift resizes, Ctrl takes 10 pixels"], ["Enter", "save the box"]],
  "Scan": [["1 – 5", "window: lung, soft tissue, bone, liver, brain"], ["wheel, ↑ ↓", "previous and next slice"], ["PgUp PgDn", "ten slices; Home and End first and last"],
    ["click, drag", "crosshair in all planes; on a circle: that finding"], ["right drag", "window; Shift and drag too"], ["Ctrl wheel", "zoom; middle drag moves, Ctrl drag too"],
    ["l", "length: drag; ends can be moved"], ["d", "diameter: drag or click, then Add finding"], ["Del", "delete the chosen measurement"], ["Esc", "back to the crosshair"],
    ["m", "MIP slab on and off"], ["e", "enlarge this plane, and back; double click too"], ["f", "fit"], ["h", "findings on and off"],
    ["touch", "one finger scrolls, a tap sets the crosshair; two move and zoom"]],
};

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
    group.append(make("h3", "mv-heading", name), list);
    groups.append(group);
  }
  dialog.append(head, groups, make("p", "mv-caption", "Keys are silent while you type. A decision is saved before the next case shows."));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return dialog;
}
