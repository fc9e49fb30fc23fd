// A drawing wider than its place begins where the version is that the page is about.
const here = document.querySelector(".lineage .here");
const place = here.closest(".scroll");
const { left, width } = here.getBoundingClientRect();
place.scrollLeft += left + width / 2 - place.getBoundingClientRect().left - place.clientWidth / 2;
