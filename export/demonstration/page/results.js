// Lists of what was found, and whether it is in the catalogue at all.

/**
 * Fills a list with neighbours.
 *
 * @param {HTMLOListElement} list
 * @param bundle the `Bundle`.
 * @param neighbours `[{index, score}]`.
 * @param copied called with a character that is clicked; without it, nothing is clickable.
 */
export function showResults(list, bundle, neighbours, copied = null) {
  const limit = threshold(bundle, "match") ?? -Infinity;
  list.replaceChildren(
    ...neighbours.map(({ index, score }) => {
      const item = bundle.item(index);
      const clickable = copied && item.character;
      const box = element(clickable ? "button" : "div", "result");
      box.classList.toggle("weak", score < limit);
      box.append(...thumbnails(bundle, index));
      box.append(item.character ? characterText(item) : plainText(item), bar(score));
      if (clickable) {
        box.type = "button";
        box.title = `Copy ${item.character}`;
        box.setAttribute(
          "aria-label",
          `${item.name}, ${item.code}, score ${score.toFixed(3)}: copy`,
        );
        box.onclick = () => copied(item.character);
      }
      const entry = document.createElement("li");
      entry.dataset.index = index;
      entry.append(box);
      return entry;
    }),
  );
}

const AT_A_GLANCE = 5;

/**
 * The first neighbours in one row below the canvas: on a phone, where the list begins
 * below the screen, they are what one sees while drawing.
 */
export function showGlance(row, bundle, neighbours) {
  row.replaceChildren(
    ...neighbours.slice(0, AT_A_GLANCE).map(({ index }) => {
      const { character, name } = bundle.item(index);
      const one = element("span", "");
      one.append(...thumbnails(bundle, index), element("span", "what", character || name));
      return one;
    }),
  );
}

// A threshold that refuses most of what is in the catalogue says nothing.
const USEFUL = 0.5;

/** `{text, none}`: whether the nearest item is near enough, in words. */
export function verdict(bundle, neighbours) {
  const limit = threshold(bundle, "no_match");
  if (limit === undefined) {
    return { text: "Nearest, however far: this bundle has no calibrated threshold.", none: false };
  }
  const { false_match_rate: rate, models } = bundle.manifest.thresholds;
  const accepted = models.int8.no_match.true_rate;
  if (accepted < USEFUL) {
    const text =
      "Nearest, however far: these items are so alike that no score tells what is not among " +
      `them (at ${percent(rate)} false matches, ${percent(accepted)} of what is would be accepted).`;
    return { text, none: false };
  }
  const score = neighbours[0].score.toFixed(3);
  const none = neighbours[0].score < limit;
  const text = none
    ? `Not in the catalogue, as far as can be told: the nearest scores ${score}, below the ` +
      `threshold of ${limit.toFixed(3)}.`
    : `In the catalogue: the nearest scores ${score}, the threshold is ${limit.toFixed(3)}.`;
  return { text, none };
}

/** A calibrated threshold of the int8 network, or undefined where the bundle has none. */
function threshold(bundle, name) {
  return bundle.manifest.thresholds?.models?.int8?.[name].threshold;
}

/** The answers as a screen reader says them. */
export function words(bundle, neighbours) {
  const names = neighbours.slice(0, 3).map(({ index }) => bundle.item(index).name);
  return `Nearest: ${names.join("; ")}.`;
}

/** The picture of an item, if the bundle has one. */
function thumbnails(bundle, index) {
  const thumbnail = bundle.thumbnail(index);
  if (!thumbnail) return [];
  const picture = element("span", "thumb");
  Object.assign(picture.style, thumbnail);
  return [picture];
}

function characterText({ character, code, name, synonyms }) {
  const text = element("span", "text");
  text.append(element("span", "letter", character), element("span", "code", code));
  text.append(element("span", "label", name.toLowerCase()));
  if (synonyms.length) {
    const others = synonyms.slice(0, 6).map((other) => other.character);
    const also = element("span", "also", `looks like ${others.join(" ")}`);
    also.title = synonyms.map((other) => `${other.code} ${other.name}`).join("\n");
    text.append(also);
  }
  return text;
}

function plainText({ id, name }) {
  const text = element("span", "text");
  text.append(element("span", "label", name), element("span", "id", id));
  return text;
}

function percent(part) {
  return `${Math.round(100 * part)} %`;
}

function bar(score) {
  const result = element("span", "score");
  result.append(element("span", "", score.toFixed(3)));
  result.style.setProperty("--share", `${100 * Math.min(1, Math.max(0, score))}%`);
  return result;
}

export function element(tag, name, text = "") {
  const result = document.createElement(tag);
  if (name) result.className = name;
  result.textContent = text;
  return result;
}
