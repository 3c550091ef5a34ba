import "./design/tokens.css";
import "./design/base.css";
import "./design/parts.css";
import "./shell/shell.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "./data/socket";
import { App } from "./shell/App";

const root = document.getElementById("root");
if (!root) throw new Error("the page has no root");
connect();
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
