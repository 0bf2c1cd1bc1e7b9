import type { Profile, Routing, RoutingReason } from "../../contracts/routing.ts";
import type { PanelMember, RouteSettings } from "../../contracts/verdict-record.ts";
import { leastShareOf } from "../wilson.ts";
import { type Lesson, weigh, type Weighed } from "./evidence.ts";

/** What a route is decided for. */
export interface RouteQuestion {
  profile: Profile;
  /** All candidates, in the order of the plan. */
  panel: readonly PanelMember[];
  /** Those of them that are left alone after failures. */
  down: readonly string[];
  /** The client asked for what only the whole panel can give. */
  wholeAskedFor: boolean;
}

/** A route, and the chance that was drawn for it. */
export interface DecidedRoute {
  routing: Routing;
  /** Absent where none was needed. */
  draw?: number;
}

/** Members that could be asked, and how sure it is that the panel's winner is among them. */
interface Choice {
  members: readonly string[];
  won: number;
  sureness: number;
}

/**
 * Decides whom a question is asked of: the fewest of those that win like questions at least as often as the threshold says, else all.
 * The same arguments give the same route, to the letter. @param random from 0 to 1, called at most once
 */
export function decideRoute(
  question: RouteQuestion,
  settings: RouteSettings,
  lessons: readonly Lesson[],
  random: () => number,
): DecidedRoute {
  const { profile, panel, down } = question;
  const { awarenessThreshold: threshold, riskLimit, likeVerdicts, explorationRatio } = settings;
  const all = panel.map(({ member }) => member);
  const whole = (
    reason: RoutingReason,
    why: string,
    found: { sureness?: number; like?: number } = {},
  ): DecidedRoute => ({
    routing: { profile, threshold, asked: all, heldBack: [], reason, ...found, why },
  });
  if (threshold >= 1) return whole("off", "the threshold is 1, so the whole panel is always asked");
  if (question.wholeAskedFor) return whole("asked-for", "the request asks for what only the whole panel can give");
  const most = Math.min(settings.most, panel.length - 1);
  if (most < settings.quorum)
    return whole(
      "panel-small",
      `of ${panel.length} candidates at least ${settings.quorum} must answer, which leaves nobody out`,
    );
  if (profile.risk >= riskLimit)
    return whole("risk", `its risk is ${profile.risk}, and from ${riskLimit} on the whole panel is asked`);
  const weighed = weigh(lessons, profile, panel);
  const like = round(weighed.like);
  if (weighed.like < likeVerdicts)
    return whole("unlearned", `only ${like} like questions were judged so far, want ${likeVerdicts}`, { like });
  const up = all.filter((member) => !down.includes(member));
  const choice = choose(weighed, all, up, settings.quorum, most, threshold);
  const best = choice ?? strongest(weighed, all, all, most);
  const sureness = round(best.sureness);
  const said = `${best.members.join(" and ")} won ${round(best.won)} of ${like} like questions, at least a share of ${sureness}`;
  if (choice === undefined) {
    const withDown = choose(weighed, all, all, settings.quorum, most, threshold);
    return withDown === undefined
      ? whole("unsure", `${said}; want ${threshold}`, { sureness, like })
      : whole("breaker", `those who usually win such questions are left alone after failures: ${down.join(", ")}`, {
          sureness,
          like,
        });
  }
  const draw = explorationRatio > 0 ? random() : undefined;
  if (draw !== undefined && draw < explorationRatio)
    return { ...whole("explore", `${said}; asked of all to go on learning`, { sureness, like }), draw };
  return {
    routing: {
      profile,
      threshold,
      asked: all.filter((member) => choice.members.includes(member)),
      heldBack: all.filter((member) => !choice.members.includes(member)),
      reason: "sure",
      sureness,
      like,
      why: `${said}; want ${threshold}`,
    },
    ...(draw === undefined ? {} : { draw }),
  };
}

/** The fewest, from `least` to `most`, that are sure enough; undefined when none are. */
function choose(
  weighed: Weighed,
  all: readonly string[],
  from: readonly string[],
  least: number,
  most: number,
  threshold: number,
): Choice | undefined {
  for (let count = least; count <= Math.min(most, from.length); count++) {
    const choice = strongest(weighed, all, from, count);
    if (choice.sureness >= threshold) return choice;
  }
  return undefined;
}

/** The so many that won most; among equals those that stand first in the plan. */
function strongest(weighed: Weighed, all: readonly string[], from: readonly string[], count: number): Choice {
  const ranked = from
    .map((member) => ({ member, won: weighed.wins[all.indexOf(member)] ?? 0 }))
    .sort((a, b) => b.won - a.won)
    .slice(0, count);
  const won = ranked.reduce((sum, one) => sum + one.won, weighed.agreed);
  return { members: ranked.map(({ member }) => member), won, sureness: leastShareOf(won, weighed.like) };
}

/** Three places, as it is told and written down. */
function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
