"use strict";
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if ("unsorted" in head.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(table, heads, column));
  });
}
function sort(table, heads, column) {
  const head = heads[column];
  const first = head.dataset.better === "higher" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const way = head.getAttribute("aria-sort") === first ? other : first;
  const value = (row) => {
    const text = row.cells[column].dataset.sort;
    if (text === "") return null;
    return column === 0 ? text : Number(text);
  };
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => {
    const one = value(a), two = value(b);
    if (one === null || two === null) return (one === null) - (two === null);
    const order = typeof one === "string" ? one.localeCompare(two) : one - two;
    return way === "ascending" ? order : -order;
  });
  table.tBodies[0].append(...rows);
  for (const each of heads) {
    if (each.hasAttribute("aria-sort")) each.setAttribute("aria-sort", each === head ? way : "none");
  }
}
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open])")];
  for (const each of closed) each.open = true;
});
addEventListener("afterprint", () => {
  for (const each of closed) each.open = false;
});
