import type { Entry } from "./entry.ts";

/** Country, capital and inhabitants of the city proper in millions, rounded. Source: the cities' own censuses and estimates, 2020 to 2024. */
const PLACES: readonly (readonly [country: string, capital: string, millions: string])[] = [
  ["France", "Paris", "2.1"],
  ["Germany", "Berlin", "3.8"],
  ["Spain", "Madrid", "3.3"],
  ["Italy", "Rome", "2.8"],
  ["Portugal", "Lisbon", "0.5"],
  ["Austria", "Vienna", "2.0"],
  ["Poland", "Warsaw", "1.9"],
  ["Sweden", "Stockholm", "1.0"],
  ["Norway", "Oslo", "0.7"],
  ["Finland", "Helsinki", "0.7"],
  ["Denmark", "Copenhagen", "0.7"],
  ["Ireland", "Dublin", "0.6"],
  ["Greece", "Athens", "0.6"],
  ["Japan", "Tokyo", "14.0"],
  ["Canada", "Ottawa", "1.0"],
  ["Australia", "Canberra", "0.5"],
  ["Egypt", "Cairo", "10.1"],
  ["Kenya", "Nairobi", "4.4"],
  ["India", "New Delhi", "0.3"],
  ["Brazil", "Brasilia", "2.8"],
  ["Czechia", "Prague", "1.4"],
  ["Hungary", "Budapest", "1.7"],
  ["Romania", "Bucharest", "1.7"],
  ["Bulgaria", "Sofia", "1.3"],
  ["Croatia", "Zagreb", "0.8"],
  ["Ukraine", "Kyiv", "3.0"],
  ["Latvia", "Riga", "0.6"],
  ["Lithuania", "Vilnius", "0.6"],
  ["Estonia", "Tallinn", "0.5"],
  ["Iceland", "Reykjavik", "0.1"],
  ["South Korea", "Seoul", "9.4"],
  ["Vietnam", "Hanoi", "8.4"],
  ["Mexico", "Mexico City", "9.2"],
  ["Argentina", "Buenos Aires", "3.1"],
  ["Colombia", "Bogota", "7.9"],
  ["Cuba", "Havana", "2.1"],
];

/** Three questions a place, and two that come after one of them. */
export function placeEntries(): Entry[] {
  return PLACES.flatMap(([country, capital, millions]) => {
    const asked: Entry = {
      key: `capital/${country}`,
      topic: "knowledge",
      question: `What is the capital of ${country}?`,
      ways: [
        `what's the capital of ${country}`,
        `capital of ${country}?`,
        `Which city is the capital of ${country}?`,
        `Tell me the capital of ${country}.`,
        `Name the capital city of ${country}`,
        `Do you know the capital of ${country}?`,
        `${country}'s capital?`,
        `What city is ${country}'s capital?`,
        `Please tell me what the capital of ${country} is.`,
        `what is the capitol of ${country.toLowerCase()}`,
      ],
      full: `The capital of ${country} is ${capital}, which is also its seat of government.`,
      brief: `${capital} is the capital of ${country}.`,
    };
    const people: Entry = {
      key: `people/${capital}`,
      topic: "knowledge",
      question: `How many people live in ${capital}?`,
      ways: [
        `What is the population of ${capital}?`,
        `population of ${capital}`,
        `how big is ${capital}`,
        `How many inhabitants does ${capital} have?`,
        `Tell me how many people live in ${capital}.`,
        `what's ${capital}'s population?`,
        `What is the population of the capital of ${country}?`,
        `How many people are there in ${capital}?`,
      ],
      full: `About ${millions} million people live in ${capital}, the capital of ${country}; its metropolitan area has more.`,
      brief: `About ${millions} million people live in ${capital}.`,
    };
    const land: Entry = {
      key: `country/${capital}`,
      topic: "knowledge",
      question: `Which country is ${capital} the capital of?`,
      ways: [
        `${capital} is the capital of which country?`,
        `what country has ${capital} as its capital`,
        `Of which country is ${capital} the capital?`,
        `In which country is ${capital}?`,
        `where is ${capital}`,
      ],
      full: `${capital} is the capital of ${country} and the seat of its government.`,
      brief: `It is the capital of ${country}.`,
    };
    return [
      asked,
      people,
      land,
      {
        ...people,
        key: `people-after/${capital}`,
        topic: "follow-up",
        after: [asked, asked, people, land],
        ways: [
          "What is its population?",
          "How many people live there?",
          "And how many people live there?",
          "how big is it",
          "And its population?",
          "How many inhabitants does it have?",
        ],
      },
      {
        ...land,
        key: `country-after/${capital}`,
        topic: "follow-up",
        after: [people],
        ways: [
          "Which country is it the capital of?",
          "And which country is it in?",
          "In which country is it?",
          "where is it",
          "Where is that city?",
        ],
      },
    ] satisfies Entry[];
  });
}
