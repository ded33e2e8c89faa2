// What each policy did with an opened sample: rounds, evidence, verdicts, belief, tokens.

function drawPolicies(problem, details) {
  const articles = Object.entries(problem.results).map(([run, result]) =>
    drawPolicy(Number(run), result, details.episodes[run]),
  );
  return element("section", { class: "policies", "aria-label": "Policies" }, ...articles);
}

function drawPolicy(run, result, episode) {
  const { label, saw } = index.runs[run];
  const answer = result.answer ?? (result.outcome === "abstained" ? "no answer" : "failed");
  const score = result.outcome === "partial" ? `, score ${result.score.toFixed(2)}` : "";
  const guess = result.answer === null && result.guess !== null ? `best guess: ${result.guess}` : "";
  return element(
    "article",
    { "aria-label": label },
    element("h3", {}, swatch(index.runs[run]), label),
    element(
      "p",
      { class: "outcome" },
      mark(result.outcome),
      element("b", {}, answer),
      ` ${OUTCOMES[result.outcome][1]}${score}`,
      result.confidence !== null && `, confidence ${result.confidence.toFixed(2)}`,
    ),
    guess && element("p", {}, guess),
    result.error !== null && element("p", { class: "trouble" }, result.error),
    element("p", { class: "quiet" }, `stopped: ${result.stop}; the reasoner ${saw}`),
    element("p", { class: "quiet" }, costLine(result.usage)),
    episode.untraced && element("p", { class: "missing" }, "No trace of this episode was kept."),
    drawEpisode(run, result, episode),
  );
}

function counted(count, what) {
  return `${count.toLocaleString("en")} ${what}${count === 1 ? "" : "s"}`;
}

function costLine([calls, prompt, cached, completion, seconds]) {
  return `${counted(calls, "call")}; ${tokensLine(prompt, cached, completion)}; ${seconds.toFixed(1)} s`;
}

function tokensLine(prompt, cached, completion) {
  const many = (count) => count.toLocaleString("en");
  return `tokens: ${many(prompt - cached)} computed, ${many(cached)} cached, ${many(completion)} written`;
}

function drawEpisode(run, result, episode) {
  const last = Math.max(0, ...episode.rounds.map((r) => r.number), ...episode.evidence.map((e) => e.round));
  const rounds = [];
  for (let number = 0; number <= last; number += 1) rounds.push(drawRound(run, result, episode, number));
  const trouble = episode.contradictions.map(([one, other]) =>
    element("p", { class: "trouble" }, `[${one}] and [${other}] answer the same question differently`),
  );
  return element(
    "div",
    {},
    ...rounds.filter(Boolean),
    ...trouble,
    episode.next && element("p", {}, `It would help to know: ${episode.next}`),
    drawBelief(episode.rounds),
    drawCalls(episode.calls),
  );
}

function drawRound(run, result, episode, number) {
  const evidence = episode.evidence.filter((e) => e.round === number);
  const round = episode.rounds.find((r) => r.number === number);
  const calls = episode.calls.filter((call) => call.round === number);
  if (!evidence.length && !round && !calls.length) return null;
  const sum = (place) => calls.reduce((total, call) => total + call.tokens[place], 0);
  return element(
    "section",
    { class: "round" },
    element("h4", {}, number ? `Round ${number}` : "Before the first round"),
    evidence.length > 0 && element("ul", {}, ...evidence.map((e) => drawEvidence(run, e))),
    ...(round ? drawVerdict(round, result.scores[number - 1]) : []),
    calls.length > 0 && element("p", { class: "quiet" }, tokensLine(sum(0), sum(1), sum(2))),
  );
}

function drawEvidence(run, evidence) {
  const labels = { caption: evidence.question || "caption", told: `${evidence.model} says` };
  const question = labels[evidence.kind] ?? evidence.question;
  const sure = evidence.probability === null ? null : bar(evidence.probability);
  const where = evidence.region && `region ${evidence.region.map((edge) => edge.toFixed(2)).join(", ")}`;
  const item = element(
    "li",
    { class: `${evidence.kind} ${evidence.withdrawn ? "withdrawn" : ""}`, title: evidence.model },
    element("span", { class: "number" }, `[${evidence.number}]`),
    element(
      "span",
      {},
      element("span", { class: "said" }, `${question} → `, element("b", {}, evidence.answer || "nothing")),
      sure,
      where && element("span", { class: "quiet" }, where),
      evidence.withdrawn && element("span", { class: "quiet" }, `withdrawn by ${evidence.withdrawn}`),
    ),
  );
  if (!evidence.region) return item;
  item.setAttribute("tabindex", 0);
  item.dataset.link = `${run}-${evidence.number}`;
  return linked(item);
}

function drawVerdict(round, score) {
  const sure = round.confidence === null ? "" : ` (confidence ${round.confidence.toFixed(2)})`;
  const cites = round.cites.map((number) => `[${number}]`).join("");
  return [
    element("p", { class: "verdict" }, "⇒ ", element("b", {}, round.answer ?? "not sure"), sure, scoreMark(score)),
    (round.rationale || cites) && element("p", {}, `${round.rationale} ${cites}`.trim()),
    round.missing && element("p", { class: "quiet" }, `missing: ${round.missing}`),
    round.asks.length > 0 && element("p", { class: "quiet" }, `asks next: ${round.asks.join(" / ")}`),
    round.stops.length > 0 && element("p", { class: "quiet" }, `stop rules that held: ${round.stops.join(", ")}`),
  ];
}

function scoreMark(score) {
  if (score === null || score === undefined) return null;
  return element("span", {}, " ", mark(score >= 1 ? "correct" : score <= 0 ? "wrong" : "partial"));
}

function bar(value) {
  const filled = element("span");
  filled.style.width = `${100 * value}%`;
  const title = `probability ${value.toFixed(3)}`;
  return element("span", { class: "measure", title }, element("span", { class: "bar" }, filled), value.toFixed(2));
}

const MOST_ANSWERS = 8; // of a belief, the most probable in any round

function drawBelief(rounds) {
  const known = rounds.filter((round) => round.belief.length);
  if (!known.length) return null;
  const best = new Map();
  for (const [answer, value] of known.flatMap((round) => round.belief)) {
    best.set(answer, Math.max(best.get(answer) ?? 0, value ?? 0));
  }
  const ranked = [...best.keys()].sort((one, other) => best.get(other) - best.get(one));
  const answers = ranked.slice(0, MOST_ANSWERS);
  const head = element("tr", {}, column("Belief in round"), ...known.map((r) => column(String(r.number))));
  const rows = answers.map((answer) => {
    const cells = known.map((round) => {
      const found = round.belief.find(([name]) => name === answer)?.[1] ?? null;
      return element("td", {}, found === null ? "–" : bar(found));
    });
    return element("tr", {}, element("th", { scope: "row" }, answer), ...cells);
  });
  const outside = known.map((r) => element("td", { class: "quiet" }, r.outside === null ? "–" : r.outside.toFixed(2)));
  const rest = ranked.length - answers.length;
  if (rest > 0) {
    const said = `and ${rest} more, none above ${best.get(ranked[MOST_ANSWERS]).toFixed(2)}`;
    rows.push(element("tr", {}, element("th", { scope: "row", class: "quiet", colspan: 1 + known.length }, said)));
  }
  rows.push(element("tr", {}, element("th", { scope: "row", class: "quiet" }, "outside these"), ...outside));
  return scrolled(element("table", { class: "belief" }, element("thead", {}, head), element("tbody", {}, ...rows)));
}

function column(text) {
  return element("th", { scope: "col" }, text);
}

function scrolled(table) {
  return element("div", { class: "scrolled" }, table);
}

function drawCalls(calls) {
  if (!calls.length) return null;
  const names = ["round", "turn", "call", "computed", "cached", "written", "seconds"];
  const rows = calls.map(({ round, turn, purpose, slot, tokens: [prompt, cached, completion], seconds, error }) => {
    const cells = [round, turn, `${purpose} (${slot})`, prompt - cached, cached, completion, seconds.toFixed(2)];
    const shown = cells.map((cell) => element("td", {}, String(cell)));
    if (error) shown[2].append(element("span", { class: "trouble" }, ` ${error}`));
    return element("tr", {}, ...shown);
  });
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...names.map(column))), element("tbody", {}, ...rows));
  return element("details", {}, element("summary", {}, `Calls and their tokens (${calls.length})`), scrolled(table));
}

start();
