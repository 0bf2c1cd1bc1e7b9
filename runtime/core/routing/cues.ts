import type { Dimension } from "../../contracts/routing.ts";

/** A dimension that words speak for, or `length`, which speaks against brevity. */
export type Cued = Dimension | "length";

/** Words and phrases of up to three words, in lower case and without accents, with commas between them, by what they speak for and how strongly (0 to 1). */
const CUES: Readonly<Record<Cued, Readonly<Record<string, string>>>> = {
  code: {
    0.7:
      "python, javascript, typescript, java, golang, kotlin, haskell, sql, bash, dockerfile, regex, kubectl, " +
      "regular expression, stack trace, unit test, source code, code snippet, shell script, list comprehension, " +
      "html, css, json, quellcode, code source, codigo fuente, expressao regular, expression reguliere, " +
      "regularer ausdruck",
    0.45:
      "function, code, program, script, compile, compiler, debug, algorithm, api, array, loop, refactor, class, " +
      "method, variable, syntax, query, git, commit, docker, kubernetes, pod, yaml, null, exception, segfault, rust, " +
      "recursion, recursive, react, funktion, programm, schleife, fonction, programme, boucle, funcion, programa, " +
      "bucle, funzione, programma, funcao, codigo, codice",
  },
  reasoning: {
    0.6:
      "step by step, prove, proof, calculate, compute, solve, how many, how much, what is the probability, " +
      "average speed, logically, trade offs, tradeoffs, pros and cons, percent of, remainder, divided by, " +
      "multiplied by, square root, schritt fur schritt, berechne, beweise, wie viele, wie viel, combien, calcule, " +
      "demontre, cuantos, cuantas, cuanto, demuestra, quanti, quante, quanto, calcola, quantos",
    0.4:
      "why, compare, difference between, explain why, therefore, if then, deduce, infer, derive, puzzle, riddle, " +
      "older than, twice as, each, faster, total, remaining, left over, plus, minus, times, troubleshoot, diagnose, " +
      "not working, fails, error, crash, slow, warum, weshalb, vergleiche, unterschied, fehler, pourquoi, comparer, " +
      "erreur, por que, compara, perche, confronta, errore, erro",
  },
  recall: {
    0.55:
      "capital of, capital city, who is, who was, who wrote, who invented, who discovered, who painted, when did, " +
      "when was, where is, where was, what year, which country, which planet, population of, largest, tallest, " +
      "longest, smallest, chemical symbol, born, hauptstadt, wer ist, wer war, wer hat, wann, einwohner, capitale, " +
      "qui est, qui a, quand, capital, quien, cuando, donde, chi ha, chi e, quando, quem, onde",
    0.35:
      "what is, what are, which, who, when, where, define, definition, meaning of, name of, history, stands for, " +
      "invented, discovered, was ist, was sind, welche, welcher, welches, wo, wer, que es, qu est, quel, quelle, " +
      "cual, qual, cosa, dove, o que",
  },
  creativity: {
    0.75:
      "poem, haiku, limerick, short story, story about, song, lyrics, slogan, tagline, fairy tale, joke, brainstorm, " +
      "role play, screenplay, gedicht, geschichte uber, marchen, witz, poeme, conte, blague, poema, cuento, chiste, " +
      "poesia, racconto, barzelletta, historia sobre, piada",
    0.4:
      "imagine, invent, creative, story, ideas, names for, metaphor, in the style of, pretend, fictional, dialogue, " +
      "erfinde, stell dir, schreibe, ideen, invente, ecris, idees, inventa, escribe, imagina, scrivi, idee, escreva",
  },
  brevity: {
    0.8:
      "one word, single word, yes or no, only the number, just the number, only the answer, just the answer, " +
      "in one sentence, one sentence, one line, ein wort, einem wort, einem satz, ja oder nein, nur die zahl, " +
      "un mot, une phrase, oui ou non, una palabra, una frase, si o no, una parola, uma palavra, uma frase, " +
      "sim ou nao",
    0.55:
      "briefly, brief, concise, concisely, short answer, tldr, tl dr, kurz, knapp, bref, brievement, breve, " +
      "brevemente, resumido",
    0.3: "short, quick, quickly, summary, summarize, summarise",
  },
  length: {
    0.8:
      "in detail, detailed, essay, article, at length, thorough, comprehensive, ausfuhrlich, en detail, " +
      "detalladamente, dettagliato, detalhado",
    0.5:
      "explain, describe, step by step, tutorial, guide, write a, story, list, compare, erklare, beschreibe, " +
      "explique, explica, spiega, decris",
  },
  contextDependence: {
    0.7:
      "you said, you mentioned, as before, previous, previously, above, earlier, same as, the second one, " +
      "the first one, the last one, go on, what about, how about, and what, and its, continue, du hast gesagt, " +
      "vorher, weiter, und was, tu as dit, precedent, et pour, dijiste, anterior, y que, hai detto, precedente, " +
      "e quanto",
    0.5:
      "it, its, they, them, their, that, those, these, this, he, she, his, her, there, one, ones, again, instead, " +
      "also, too, es, sie, er, dessen, deren, dort, das, davon, sa, son, ses, elle, il, cela, su, sus, ella, eso, " +
      "suo, sua, quello, isso, dele, dela",
  },
  risk: {
    0.8:
      "suicide, suicidal, kill myself, hurt myself, self harm, overdose, chest pain, heart attack, stroke symptoms, " +
      "bomb, explosive, nerve agent, carbon monoxide, gas leak, rm rf, drop table, drop database, mains voltage, " +
      "insulin, chemotherapy, poison, poisoning, seizure, emergency, selbstmord, suizid, uberdosis, herzinfarkt, " +
      "bombe, vergiftung, surdose, infarctus, suicidio, sobredosis, infarto, bomba, veneno, avvelenamento, gift, " +
      "notfall, urgence, emergencia, emergenza",
    0.55:
      "dosage, dose, medication, medicine, ibuprofen, paracetamol, acetaminophen, aspirin, antibiotic, pregnant, " +
      "pregnancy, symptom, diagnosis, allergic, lawsuit, sue, lawyer, attorney, legal advice, illegal, divorce, " +
      "visa, invest, investment, mortgage, tax return, taxes, retirement savings, weapon, firearm, ammunition, " +
      "bleach, ammonia, circuit breaker panel, format the disk, production database, delete all, wipe, mkfs, " +
      "force push, malware, exploit, dosierung, medikament, schwanger, anwalt, klage, steuererklarung, anlegen, " +
      "waffe, medicament, enceinte, avocat, impots, investir, arme, dosis, medicamento, embarazada, abogado, " +
      "impuestos, invertir, arma, farmaco, incinta, avvocato, tasse, investire, gravida, advogado, impostos",
    0.3:
      "doctor, hospital, blood, fever, baby, infant, drug, alcohol, contract, password, private key, loan, debt, " +
      "stock, bitcoin, knife, fire, voltage, arzt, medecin, medico",
  },
};

/** Everyday words of the languages that the cues cover: who writes four words without one of them writes another language, or no language at all. */
const FUNCTION_WORDS =
  "a an the is are was were be do does did can could will would should how what why who when where which i you he she it we they my your this that these those and or but not no in on of for to with from by at as if than me us them his her its have has had there please " +
  "der die das ein eine einen einem ist sind war waren wie was warum wer wann wo welche ich du er sie es wir ihr und oder nicht kein in auf von fur zu mit aus bei als wenn den dem des mir mich bitte hat haben " +
  "le la les un une des est sont etait comment que quoi pourquoi qui quand ou quel quelle je tu il elle nous vous ils et pas ne dans sur de du pour avec par au aux si ce cette mon ma " +
  "el los las una unos es son era como cual cuando donde quien yo tu nosotros y o no en del al por con para si mi su este esta lo se " +
  "il lo gli i uno e sono come che cosa perche chi quando dove io noi voi loro non nel della di da per con su se mio questa questo " +
  "o os as um uma sao como que quem quando onde eu voce nos e ou nao em do da dos das por com para se meu isto";

/** What a phrase speaks for. */
export type CueHits = readonly { cued: Cued; weight: number }[];

/** All cues, by their words joined with blanks. */
export const CUES_BY_PHRASE: ReadonlyMap<string, CueHits> = indexed();

/** Words in which the covered languages are known. */
export const FUNCTION_WORD_SET: ReadonlySet<string> = new Set(FUNCTION_WORDS.split(" "));

function indexed(): Map<string, CueHits> {
  const found = new Map<string, { cued: Cued; weight: number }[]>();
  for (const [cued, byWeight] of Object.entries(CUES)) {
    for (const [weight, phrases] of Object.entries(byWeight)) {
      for (const phrase of phrases.split(", ")) {
        const hits = found.get(phrase) ?? [];
        if (!hits.some((hit) => hit.cued === cued)) hits.push({ cued: cued as Cued, weight: Number(weight) });
        found.set(phrase, hits);
      }
    }
  }
  return found;
}
