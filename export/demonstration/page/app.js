// The page: what a person draws, drops or photographs becomes a query, and its answers.

import { Bundle } from "./bundle.js";
import { openCamera } from "./camera.js";
import { check, golden } from "./golden.js";
import { Group } from "./group.js";
import { Pad } from "./pad.js";
import { paintPixels } from "./paint.js";
import { decode, drawn, fitted, fittedInk } from "./pixels.js";
import { Panels } from "./panels.js";
import { showGlance, showResults, verdict, words } from "./results.js";
import { startRuntime } from "./runtime.js";

const $ = (id) => document.getElementById(id);
const SAMPLES = 6;
const TIMES = 15;
const embeddingTimes = [];
const searchTimes = [];

let bundle, pad, panels, group;
let asked = 0; // queries so far: an answer to an older one is not shown
let lastPicture = null; // ImageData of the picture that is shown, if it is no drawing
let speaking;

main().catch(showFault);

async function main() {
  await startRuntime();
  bundle = await Bundle.open();
  describe();
  pad = new Pad($("pad"), () => askDrawing());
  pad.resize(bundle.shape[1] / bundle.shape[0]);
  panels = new Panels(bundle);
  group = bundle.scorer && new Group(bundle);
  listen();
  const pictures = await golden();
  showSamples(pictures);
  await showBadge(pictures);
  // Last, so that nothing moves under a pen that is drawing already.
  $("main").hidden = false;
  document.documentElement.dataset.ready = "true";
}

function describe() {
  const { catalogue } = bundle.manifest;
  const [count, classes] = [catalogue.images, catalogue.classes].map((n) => n.toLocaleString("en"));
  const kinds = bundle.areCharacters ? "characters" : "classes";
  $("summary").textContent = `${count} pictures of ${classes} ${kinds}, searched by ${
    bundle.search ? "search.tflite" : "embed_int8.tflite"
  } in this browser.`;
  $("items").textContent = count;
  $("crop").hidden = !bundle.areCharacters;
  if (bundle.areCharacters) $("ask-title").textContent = "Draw a character";
  if (bundle.search === null) {
    $("search-label").textContent = "search (JavaScript)";
    showNotice(
      "This bundle has no search.tflite: its network embeds the picture, and this page itself " +
        "compares it with every item. Write the bundle anew with export.bundle to have the " +
        "search in the file.",
    );
  }
}

function listen() {
  $("clear").onclick = () => pad.clear();
  $("undo").onclick = () => pad.undo();
  $("choose").onclick = () => $("file").click();
  $("file").onchange = (event) => {
    askFiles(event.target.files);
    event.target.value = ""; // so that the same file can be chosen again
  };
  $("camera").onclick = () =>
    guarded(() =>
      openCamera($("camera-dialog"), (video, width, height) =>
        askPicture(drawn(video, width, height)),
      ),
    );
  $("crop").onchange = () => lastPicture && askPicture(lastPicture);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", () => document.body.classList.remove("dragging"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    askFiles(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => askFiles(event.clipboardData.files));
}

/** Asks with the first of some files; further ones go into the group, if there is one. */
function askFiles(files) {
  guarded(async () => {
    for (const [i, file] of [...files].entries()) {
      const picture = await decode(file);
      await askPicture(picture);
      if (group && files.length > 1) await group.add(lastQuery, i === files.length - 1);
    }
  });
}

let lastQuery = null;

async function askPicture(picture) {
  lastPicture = picture;
  pad.strokes = [];
  pad.paint();
  const cut = bundle.areCharacters && $("crop").querySelector("input").checked;
  const pixels = cut ? fittedInk(picture, bundle.shape) : fitted(picture, bundle.shape);
  if (pixels === null) throw new Error("There is nothing dark on this picture to cut out.");
  showPicture(picture);
  await ask(pixels);
}

function askDrawing() {
  lastPicture = null;
  $("picture").hidden = true;
  $("pad-hint").hidden = !pad.isEmpty;
  if (pad.isEmpty) return forget();
  const { picture } = pad;
  const pixels = bundle.areCharacters
    ? fittedInk(picture, bundle.shape)
    : fitted(picture, bundle.shape);
  if (pixels === null) return forget(); // all of it lies beyond the edge
  guarded(() => ask(pixels));
}

async function ask(pixels) {
  const turn = ++asked;
  lastQuery = pixels;
  const found = await bundle.find(pixels);
  if (turn !== asked) return;
  hideFault();
  paintPixels($("seen"), pixels, bundle.shape);
  $("embedding-time").textContent = time(embeddingTimes, found.embeddingTime);
  $("search-time").textContent = time(searchTimes, found.searchTime);
  showResults($("results"), bundle, found.neighbours, copied);
  showGlance($("glance"), bundle, found.neighbours);
  const judged = verdict(bundle, found.neighbours);
  $("verdict").textContent = judged.text;
  $("verdict").classList.toggle("none", judged.none);
  group?.offer(pixels);
  panels.show(pixels);
  speak(`${judged.text} ${words(bundle, found.neighbours)}`);
  document.documentElement.dataset.answers = String(turn);
}

function forget() {
  asked++;
  lastQuery = null;
  $("results").replaceChildren();
  $("glance").replaceChildren();
  $("verdict").textContent = "";
  $("verdict").classList.remove("none");
  panels.clear();
}

/** Says the answers to a screen reader, once the drawing rests. */
function speak(text) {
  clearTimeout(speaking);
  speaking = setTimeout(() => ($("said").textContent = text), 800);
}

async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    $("verdict").textContent = `Copied ${text}`;
  } catch {
    $("verdict").textContent = `The browser does not let this page copy: ${text}`;
  }
  $("said").textContent = $("verdict").textContent;
}

function showPicture(picture) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").putImageData(picture, 0, 0);
  $("picture").src = canvas.toDataURL();
  $("picture").hidden = false;
  $("pad-hint").hidden = true;
}

function showSamples(pictures) {
  const step = Math.max(1, Math.floor(pictures.length / SAMPLES));
  pictures
    .filter((_, i) => i % step === 0)
    .slice(0, SAMPLES)
    .forEach(({ pixels, neighbours }) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-label", `Try ${bundle.item(neighbours[0].index).name}`);
      const canvas = document.createElement("canvas");
      paintPixels(canvas, pixels, bundle.shape);
      canvas.ariaHidden = "true";
      button.append(canvas);
      button.onclick = () => {
        lastPicture = null;
        pad.strokes = [];
        pad.paint();
        showPicture(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height));
        guarded(() => ask(pixels));
      };
      $("samples").append(button);
    });
}

async function showBadge(pictures) {
  const found = await check(bundle, pictures);
  const cosine = found.cosine.toFixed(5);
  const badge = $("badge");
  badge.hidden = false;
  badge.classList.add(found.agrees ? "good" : "bad");
  badge.textContent = found.agrees
    ? `✓ Agrees with the desktop: ${found.count} golden pictures, least cosine ${cosine}, ` +
      `${found.same} with the same nearest`
    : `✗ Differs from the desktop: least cosine ${cosine}, scores off by up to ` +
      `${found.difference.toFixed(3)}`;
}

/** Adds a time to the last ones; returns their median, in words. */
function time(times, milliseconds) {
  times.push(milliseconds);
  if (times.length > TIMES) times.shift();
  const middle = [...times].sort((a, b) => a - b)[times.length >> 1];
  return `${middle < 0.01 ? "< 0.01" : middle.toPrecision(2)} ms`;
}

async function guarded(work) {
  try {
    await work();
  } catch (error) {
    showFault(error);
  }
}

function showFault(error) {
  console.error(error);
  $("fault").textContent = error.message;
  $("fault").hidden = false;
  if (!bundle) $("summary").textContent = "The networks could not be started.";
  document.documentElement.dataset.fault = "true";
}

function showNotice(text) {
  const notice = document.createElement("p");
  notice.className = "note";
  notice.id = "notice";
  notice.textContent = text;
  $("main").before(notice);
}

function hideFault() {
  $("fault").hidden = true;
  delete document.documentElement.dataset.fault;
}
