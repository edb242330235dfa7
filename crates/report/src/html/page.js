"use strict";
{
  // Shows what is pointed at sooner, and nicer, than a browser shows titles; without it, titles are shown.
  const tip = document.getElementById("tip");
  const told = new WeakMap();
  let shown = null;
  document.addEventListener("pointerover", (event) => {
    const of = event.target.closest("circle, path.missed, g.task, text.name, line.deadline");
    if (of === shown) return;
    shown = of;
    tip.hidden = true;
    if (!of) return;
    const title = of.querySelector(":scope > title");
    if (title) {
      told.set(of, title.textContent);
      of.setAttribute("aria-label", title.textContent);
      title.remove();
    }
    if (!told.has(of)) return;
    tip.textContent = told.get(of);
    tip.hidden = false;
  });
  document.addEventListener("pointermove", (event) => {
    if (tip.hidden) return;
    const gap = 14;
    const left = Math.min(event.clientX + gap, innerWidth - tip.offsetWidth - 8);
    const below = event.clientY + gap + tip.offsetHeight < innerHeight;
    tip.style.left = Math.max(8, left) + "px";
    tip.style.top = (below ? event.clientY + gap : event.clientY - gap - tip.offsetHeight) + "px";
  });
  // A stage of the legend stands out while it is chosen.
  const timeline = document.getElementById("timeline");
  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const chosen = button.getAttribute("aria-pressed") !== "true";
      for (const other of document.querySelectorAll(".legend button")) other.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-pressed", String(chosen));
      timeline.classList.toggle("only", chosen);
      for (const task of timeline.querySelectorAll("g.task")) {
        task.classList.toggle("chosen", chosen && task.dataset.stage === button.dataset.stage);
      }
    });
  }
}
