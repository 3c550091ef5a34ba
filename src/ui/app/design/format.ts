// Times in the words of where one is.

/** Made when it is first needed: that takes long, and the first view waits for all that is made before it. */
export function format(options: Intl.DateTimeFormatOptions): (date: Date | number) => string {
  let made: Intl.DateTimeFormat | undefined;
  return (date) => {
    made ??= new Intl.DateTimeFormat(undefined, options);
    return made.format(date);
  };
}
