// Which view stands at which path; the paths are those of PAGES in mod.rs.
import type { ReactNode } from "react";
import { useMayAct } from "../data/you";
import type { IconName } from "../design/Icon";
import { JobPage } from "../job/JobPage";
import { JobsPage } from "../jobs/JobsPage";
import { OverviewPage } from "../overview/OverviewPage";
import { LogsPage } from "../logs/LogsPage";
import { SubmitPage } from "../submit/SubmitPage";
import { TaskPage } from "../task/TaskPage";
import { WorkerPage } from "../workers/WorkerPage";
import { WorkersPage } from "../workers/WorkersPage";

export interface Entry {
  href: string;
  name: string;
  icon: IconName;
}

const NAVIGATION: readonly Entry[] = [
  { href: "/", name: "Overview", icon: "overview" },
  { href: "/jobs", name: "Jobs", icon: "jobs" },
  { href: "/workers", name: "Workers", icon: "workers" },
  { href: "/logs", name: "Logs", icon: "logs" },
];
const SUBMIT: Entry = { href: "/submit", name: "Submit", icon: "submit" };

/** The views to which one can go from everywhere. */
export function useNavigation(): readonly Entry[] {
  return useMayAct() ? [...NAVIGATION, SUBMIT] : NAVIGATION;
}

export interface View {
  title: string;
  /** Of the navigation, which is marked. */
  under: string;
  body: ReactNode;
}

export function view(path: string): View {
  const [first = "", id] = path.split("/").slice(1).map(decodeURIComponent);
  switch (first) {
    case "":
      return { title: "Overview", under: "/", body: <OverviewPage /> };
    case "jobs":
      return id
        ? { title: id, under: "/jobs", body: <JobPage key={id} id={id} /> }
        : { title: "Jobs", under: "/jobs", body: <JobsPage /> };
    case "workers":
      return id
        ? { title: id, under: "/workers", body: <WorkerPage key={id} id={id} /> }
        : { title: "Workers", under: "/workers", body: <WorkersPage /> };
    case "tasks":
      if (id) return { title: id, under: "/jobs", body: <TaskPage key={id} id={id} /> };
      break;
    case "logs":
      return { title: "Logs", under: "/logs", body: <LogsPage /> };
    case "submit":
      return { title: "Submit", under: "/submit", body: <SubmitPage /> };
    default:
  }
  return { title: "Not here", under: "", body: <h1>There is no such page.</h1> };
}
