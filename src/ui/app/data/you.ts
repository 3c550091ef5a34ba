// Who looks at the page, and what they may do.
import { graphql } from "../gen";
import { store, useStore } from "./store";

export const YOU = graphql(`
  query You {
    you { principal role anonymous }
    info { version nodeName }
  }
`);

/** `undefined` while it is not known. */
export const role = store<string | null | undefined>(undefined);

/** Whether they may change something: who may not is not offered it. */
export function useMayAct(): boolean {
  const its = useStore(role);
  return its === "operator" || its === "admin";
}
