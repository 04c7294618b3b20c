"""How the report of a bundle looks, on a phone and on a desk, by day and by night."""

STYLE = """\
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1c1f23; --soft: #5c646d; --line: #d9dde2;
  --card: #f4f6f8; --same: #1a8a45; --other: #c93434; --new: #b26a00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --ink: #e8eaed; --soft: #a3abb4; --line: #343a41;
    --card: #1e2227; --same: #4cc27a; --other: #ff7b72; --new: #f0b04a;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif;
}
main { max-width: 68rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 .25rem; }
p { color: var(--soft); margin: .25rem 0 1rem; max-width: 46rem; }
.figures {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr));
  gap: .75rem; list-style: none; padding: 0; margin: 1rem 0;
}
.figures li { background: var(--card); border-radius: .6rem; padding: .75rem 1rem; }
.figures strong { display: block; font-size: 1.35rem; }
.figures span { color: var(--soft); font-size: .85rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; }
th, td { padding: .4rem .6rem; text-align: right; white-space: nowrap; }
th:first-child { text-align: left; }
thead th {
  color: var(--soft); font-weight: 500; vertical-align: bottom;
  white-space: normal; min-width: 4.6rem; line-height: 1.2;
}
tbody tr { border-top: 1px solid var(--line); }
tbody th { font-weight: 600; }
td { font-variant-numeric: tabular-nums; }
article {
  display: grid; grid-template-columns: 8.5rem 1fr; gap: 1rem;
  border-top: 1px solid var(--line); padding: 1rem 0;
}
figure { margin: 0; }
figure img { width: 5.5rem; display: block; border: 2px solid var(--ink); }
figcaption { color: var(--soft); font-size: .8rem; overflow-wrap: anywhere; }
figcaption b { color: var(--ink); display: block; }
.strips { display: grid; gap: .6rem; min-width: 0; }
.strip { display: grid; grid-template-columns: 3rem 1fr; gap: .5rem; }
.strip > span { color: var(--soft); font-size: .8rem; }
.strip ol {
  display: grid; grid-template-columns: repeat(10, minmax(0, 1fr)); gap: .35rem;
  list-style: none; margin: 0; padding: 0;
}
.strip li { position: relative; border: 2px solid var(--same); line-height: 0; }
.strip li.other { border: 2px dashed var(--other); }
.strip li.new::after {
  content: ""; position: absolute; right: -5px; top: -5px; width: 10px;
  height: 10px; border-radius: 50%; background: var(--new);
  border: 1px solid var(--paper);
}
.strip img { width: 100%; image-rendering: pixelated; }
@media (max-width: 40rem) {
  tbody th, thead th:first-child {
    white-space: normal; min-width: 6.5rem; overflow-wrap: anywhere;
    position: sticky; left: 0; background: var(--paper);
  }
  article { grid-template-columns: 1fr; }
  figure { display: flex; gap: .75rem; align-items: center; }
  figure img { width: 4rem; }
  .strip { grid-template-columns: 1fr; gap: .15rem; }
  .strip ol { grid-template-columns: repeat(5, minmax(0, 1fr)); }
}
"""
