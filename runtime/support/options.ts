import { InvalidArgumentError } from "commander";

/** Parser of a commander option that is a whole number in a range. @throws InvalidArgumentError with what it got and what is allowed */
export function integer(name: string, least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isInteger(value) && value >= least && value <= most) return value;
    throw new InvalidArgumentError(`--${name}: got ${text}, want a whole number from ${least} to ${most}.`);
  };
}

/** Parser of a commander option that is a share from 0 to 1. @throws InvalidArgumentError with what it got and what is allowed */
export function share(name: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= 0 && value <= 1) return value;
    throw new InvalidArgumentError(`--${name}: got ${text}, want a number from 0 to 1.`);
  };
}
