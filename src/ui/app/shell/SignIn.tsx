// Shows a token to the server, where it asks for one.
import { useState } from "react";
import type { Problem } from "../data/problem";
import { signIn, signOut, token } from "../data/session";
import { useStore } from "../data/store";
import { Notice } from "../design/Notice";

export function SignIn({ problem }: { problem: Problem }) {
  const [text, setText] = useState("");
  const shown = useStore(token) !== null;
  return (
    <form
      className="stack panel sign-in"
      onSubmit={(event) => {
        event.preventDefault();
        signIn(text.trim());
      }}
    >
      <h1>Sign in</h1>
      <p className="soft">
        This server asks for a token. <code>grid token create</code> makes one; it is kept in this tab only.
      </p>
      {shown && <Notice kind="bad">{problem.message}</Notice>}
      <label>
        Token
        <input
          className="grow"
          type="password"
          autoComplete="off"
          spellCheck={false}
          required
          value={text}
          onChange={(event) => setText(event.target.value)}
        />
      </label>
      <div className="row">
        <button type="submit" className="primary">
          Sign in
        </button>
        {shown && (
          <button type="button" onClick={signOut}>
            Forget the token
          </button>
        )}
      </div>
    </form>
  );
}
