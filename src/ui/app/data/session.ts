// The token with which the page asks, if it has one. It is kept for this tab only, and goes nowhere but to this server.
import { store } from "./store";

const KEY = "grid.token";

export const token = store<string | null>(sessionStorage.getItem(KEY));

export function signIn(text: string): void {
  sessionStorage.setItem(KEY, text);
  token.set(text);
}

export function signOut(): void {
  sessionStorage.removeItem(KEY);
  token.set(null);
}

export function authorization(): Record<string, string> {
  const shown = token.get();
  return shown === null ? {} : { authorization: `Bearer ${shown}` };
}
