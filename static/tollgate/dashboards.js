// A click on a bar or a point of a picture leads to its calls: those from its moment to the next one's.
"use strict";

for (const canvas of document.querySelectorAll("canvas[data-moments]")) {
  const moments = JSON.parse(canvas.dataset.moments);
  const at = (event) => window.Chart?.getChart(canvas)?.getElementsAtEventForMode(event, "index", { intersect: false }, false)[0];
  canvas.style.cursor = "pointer";
  canvas.addEventListener("click", (event) => {
    const found = at(event);
    if (!found) return;
    const url = new URL(canvas.dataset.url, location.href);
    url.searchParams.delete("period");
    url.searchParams.set("since", moments[found.index]);
    url.searchParams.set("until", moments[found.index + 1]);
    location.assign(url);
  });
}
