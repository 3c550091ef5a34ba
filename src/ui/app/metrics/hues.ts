/** Colours of lines: those of texts, which stand out from their ground. */
export type Hue = "green" | "blue" | "red" | "orange" | "yellow" | "gray" | "accent";

/** How the lines of a chart are drawn, one after the other: a colour alone says nothing to many people. */
export const DASHES: readonly (readonly number[] & number[])[] = [[], [6, 3], [2, 3], [9, 3, 2, 3], [12, 4], [1, 4]];
