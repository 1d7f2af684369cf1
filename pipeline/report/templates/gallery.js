"use strict";
// frames.js holds GALLERY: a row of `runs` is clip, first, last and shown frame, reasons as bits,
// corners of the annotated face and of the detector's, 0 where there is none
const PAGE = 200;
const { images, reasons, clips, runs } = GALLERY;
const byId = id => document.getElementById(id);
const tiles = byId("tiles");
const STORE = "avemo gallery " + location.pathname;
let found = [], shown = 0, at = 0, closer = null;

const nameOf = (clip, frame) => clips[clip][0] + "_" + String(frame).padStart(5, "0");
const keyOf = run => nameOf(run[0], run[1]);
const many = (count, noun) => count.toLocaleString("en") + " " + noun + (count === 1 ? "" : "s");
const words = bits => reasons.filter((_, rank) => bits >> rank & 1);
const size = run => run[2] - run[1] + 1;

let ticks = new Set();
try { ticks = new Set(JSON.parse(localStorage.getItem(STORE) || "[]")); } catch { /* a browser that keeps nothing */ }

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function picture(run, frame) {
  const [, , , width, height] = clips[run[0]];
  const box = element("div", "picture");
  box.style.aspectRatio = width + " / " + height;
  const image = element("img", "");
  image.loading = "lazy";
  image.alt = "";
  image.src = images + encodeURIComponent(nameOf(run[0], frame)) + ".jpg";
  box.append(image);
  // boxes are those of the frame that stands for the run
  for (const [corners, kind] of frame === run[3] ? [[run[6], "found"], [run[5], "face"]] : []) {
    if (!corners) continue;
    const [x1, y1, x2, y2] = corners, mark = element("i", kind);
    mark.style.left = 100 * x1 / width + "%";
    mark.style.top = 100 * y1 / height + "%";
    mark.style.width = 100 * (x2 - x1) / width + "%";
    mark.style.height = 100 * (y2 - y1) / height + "%";
    box.append(mark);
  }
  return box;
}

function tile(run) {
  const made = element("div", "tile"), [id, speaker, emotion] = clips[run[0]];
  const why = words(run[4]);
  made.tabIndex = -1;
  made.setAttribute("role", "checkbox");
  made.setAttribute("aria-checked", ticks.has(keyOf(run)));
  const view = picture(run, run[3]);
  const zoom = element("button", "zoom", "⤢");
  zoom.type = "button";
  zoom.tabIndex = -1;
  zoom.setAttribute("aria-label", "Look closer");
  view.append(zoom);
  if (size(run) > 1) view.append(element("b", "", "×" + size(run)));
  const text = element("p", "");
  text.append(element("strong", "", id), " " + run[3] + " ", element("span", "why", why.join(", ")));
  made.append(view, text);
  made.setAttribute("aria-label", [id, "frame " + run[3], speaker, emotion, ...why, many(size(run), "frame")].join(", "));
  return made;
}

function filter() {
  const wanted = [...byId("reasons").querySelectorAll(":checked")].reduce((bits, box) => bits | 1 << box.value, 0);
  const speaker = byId("speaker").value, emotion = byId("emotion").value, ticked = byId("ticked").checked;
  found = runs.filter(run =>
    (!wanted || run[4] & wanted) && (!speaker || clips[run[0]][1] === speaker) &&
    (!emotion || clips[run[0]][2] === emotion) && (!ticked || ticks.has(keyOf(run))));
  shown = at = 0;
  tiles.replaceChildren();
  more();
  const frames = found.reduce((sum, run) => sum + size(run), 0);
  byId("count").textContent = many(frames, "frame") + " in " + many(found.length, "run") + ", worst first";
  byId("none").hidden = found.length > 0;
}

function more() {
  tiles.append(...found.slice(shown, shown + PAGE).map(tile));
  shown = Math.min(shown + PAGE, found.length);
  byId("more").hidden = shown === found.length;
  byId("more").textContent = "Show more (" + (found.length - shown).toLocaleString("en") + " left)";
  if (tiles.children[at]) tiles.children[at].tabIndex = 0;
}

function go(to) {
  if (to >= shown && shown < found.length) more();
  to = Math.max(0, Math.min(to, shown - 1));
  if (!tiles.children[to]) return;
  tiles.children[at].tabIndex = -1;
  at = to;
  tiles.children[at].tabIndex = 0;
  tiles.children[at].focus();
}

function tick(index) {
  const id = keyOf(found[index]);
  if (!ticks.delete(id)) ticks.add(id);
  tiles.children[index].setAttribute("aria-checked", ticks.has(id));
  count();
}

function listed() {
  const names = [];
  for (const run of runs) {
    if (!ticks.has(keyOf(run))) continue;
    for (let frame = run[1]; frame <= run[2]; frame++) names.push(nameOf(run[0], frame));
  }
  return names.sort();
}

function count() {
  const frames = listed().length;
  byId("chosen").textContent = many(frames, "frame") + " ticked";
  byId("save").disabled = byId("clear").disabled = !frames;
  try { localStorage.setItem(STORE, JSON.stringify([...ticks])); } catch { /* as above */ }
}

function look(frame) {
  const run = closer.run;
  closer.frame = Math.max(run[1], Math.min(frame, run[2]));
  const [id, speaker, emotion, width, height] = clips[run[0]];
  byId("closer").style.setProperty("--aspect", width / height);
  byId("large").replaceWith(Object.assign(picture(run, closer.frame), { id: "large" }));
  const place = "frame " + closer.frame + (size(run) > 1 ? " of frames " + run[1] + " to " + run[2] : "");
  const facts = [id, place, speaker, emotion, ...words(run[4])].join(", ");
  byId("about").textContent = facts + (closer.frame === run[3] ? "." : "; boxes are drawn in frame " + run[3] + ".");
}

function enlarge(index) {
  closer = { run: found[index] };
  look(found[index][3]);
  byId("closer").showModal();
}

const columns = () => getComputedStyle(tiles).gridTemplateColumns.split(" ").length;
const keys = {
  ArrowLeft: () => go(at - 1), ArrowRight: () => go(at + 1),
  ArrowUp: () => go(at - columns()), ArrowDown: () => go(at + columns()),
  " ": () => tick(at), Enter: () => enlarge(at),
};
tiles.addEventListener("keydown", event => {
  if (!keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
});
tiles.addEventListener("click", event => {
  const index = [...tiles.children].indexOf(event.target.closest(".tile"));
  if (index < 0) return;
  go(index);
  (event.target.closest(".zoom") ? enlarge : tick)(index);
});
byId("closer").addEventListener("keydown", event => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) look(closer.frame + step);
});
byId("close").addEventListener("click", () => byId("closer").close());
byId("more").addEventListener("click", () => { const first = shown; more(); go(first); });
byId("clear").addEventListener("click", () => { ticks.clear(); count(); filter(); });
byId("save").addEventListener("click", () => {
  const link = element("a", ""), text = listed().map(one => one + "\n").join("");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain" }));
  link.download = "frames.txt";
  link.click();
  URL.revokeObjectURL(link.href);
});

reasons.forEach((reason, rank) => {
  const total = runs.reduce((sum, run) => sum + (run[4] >> rank & 1), 0);
  if (!total) return;
  const chip = element("label", "chip"), box = element("input", "");
  box.type = "checkbox";
  box.value = rank;
  chip.append(box, reason + " ", element("small", "", total.toLocaleString("en")));
  byId("reasons").append(chip);
});
for (const [id, column] of [["speaker", 1], ["emotion", 2]]) {
  for (const value of [...new Set(clips.map(clip => clip[column]))].sort()) byId(id).append(new Option(value));
}
document.querySelector(".filters").addEventListener("change", filter);
filter();
count();
