// Among pages that match alike, what answers a task stands first and the history last; Sphinx would sort them by title.
var Scorer = {
  score: ([page, , , , score]) => {
    if (page.startsWith("docs/howto/")) return score + 4;
    if (["docs/start", "docs/tour", "docs/training", "docs/reference/words"].includes(page)) return score + 3;
    if (["CHANGELOG", "CONTRIBUTING", "SECURITY"].includes(page)) return score - 20;
    return score;
  },
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
