// What stands around every view.
import { useEffect } from "react";
import { signOut, token } from "../data/session";
import { useStore } from "../data/store";
import { useAnswer } from "../data/useAnswer";
import { role, YOU } from "../data/you";
import { Icon } from "../design/Icon";
import icon from "../design/icon.svg";
import { Toasts } from "../design/Toasts";
import { Link } from "../route/Link";
import { usePlace } from "../route/route";
import { Search } from "../search/Search";
import { SignIn } from "./SignIn";
import { StaleNotice, Status } from "./Status";
import { theme, turnTheme } from "./theme";
import { useNavigation, view } from "./views";

export function App() {
  const { path } = usePlace();
  const you = useAnswer(YOU, {});
  const hasToken = useStore(token) !== null;
  const dark = useStore(theme) === "dark";
  const { title, under, body } = view(path);
  const navigation = useNavigation();
  useEffect(() => {
    document.title = `${title} · Grid`;
  }, [title]);
  useEffect(() => {
    role.set(you.data ? (you.data.you.role ?? null) : undefined);
  }, [you.data]);
  const refused = you.problem?.needsToken ? you.problem : undefined;
  return (
    <div className="shell">
      <header>
        <a className="skip" href="#main">
          To the content
        </a>
        <Link className="brand" href="/">
          <img src={icon} alt="" />
          Grid
        </Link>
        <span className="grow" />
        {!refused && <Search />}
        {!refused && <Status />}
        {!refused && you.data && (
          <span className="soft small who nowrap" title={`${you.data.info.nodeName}, version ${you.data.info.version}`}>
            {you.data.you.principal} ({you.data.you.role})
          </span>
        )}
        {hasToken && (
          <button type="button" className="plain" onClick={signOut}>
            Sign out
          </button>
        )}
        <button type="button" className="plain" onClick={turnTheme} aria-label={dark ? "Light colours" : "Dark colours"}>
          <Icon name={dark ? "sun" : "moon"} />
        </button>
      </header>
      <nav aria-label="Views">
        <ul>
          {navigation.map(({ href, name, icon }) => (
            <li key={href}>
              <Link href={href} aria-current={under === href ? "page" : undefined}>
                <Icon name={icon} />
                {name}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <main id="main" className="stack" tabIndex={-1}>
        {refused ? (
          <SignIn problem={refused} />
        ) : (
          <>
            <StaleNotice />
            {body}
          </>
        )}
      </main>
      <Toasts />
    </div>
  );
}
