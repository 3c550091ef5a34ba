// Dark or light: as the system has it, until somebody chooses.
import { store } from "../data/store";

const KEY = "grid.theme";
type Theme = "dark" | "light";

const system = matchMedia("(prefers-color-scheme: dark)");
const chosen = (): Theme | undefined => {
  const text = localStorage.getItem(KEY);
  return text === "dark" || text === "light" ? text : undefined;
};
const present = (): Theme => chosen() ?? (system.matches ? "dark" : "light");

export const theme = store<Theme>(present());

function show(): void {
  theme.set(present());
  document.documentElement.dataset["theme"] = theme.get();
}

system.addEventListener("change", show);
show();

export function turnTheme(): void {
  localStorage.setItem(KEY, theme.get() === "dark" ? "light" : "dark");
  show();
}
