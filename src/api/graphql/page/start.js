"use strict";
// Queries and mutations go to /graphql, subscriptions to /graphql/stream as events of the server.
(() => {
  const headers = (more, accept) => ({ ...more, "content-type": "application/json", accept });

  const isSubscription = (document, name) =>
    document?.definitions.some(
      (it) => it.kind === "OperationDefinition" && it.operation === "subscription" && (!name || it.name?.value === name),
    );

  async function ask(parameters, more) {
    const answer = await fetch("/graphql", {
      method: "POST",
      headers: headers(more, "application/graphql-response+json"),
      body: JSON.stringify(parameters),
    });
    return answer.json();
  }

  async function* subscribe(parameters, more) {
    const stop = new AbortController();
    try {
      const answer = await fetch("/graphql/stream", {
        method: "POST",
        headers: headers(more, "text/event-stream"),
        body: JSON.stringify(parameters),
        signal: stop.signal,
      });
      if (!answer.ok) {
        yield await answer.json();
        return;
      }
      let text = "";
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        text += value;
        const events = text.split("\n\n");
        text = events.pop();
        for (const event of events) {
          const lines = event.split("\n");
          if (lines.includes("event: complete")) return;
          const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
          if (lines.includes("event: next")) yield JSON.parse(data.join("\n"));
        }
      }
    } finally {
      stop.abort();
    }
  }

  const fetcher = (parameters, options) =>
    isSubscription(options?.documentAST, parameters.operationName)
      ? subscribe(parameters, options?.headers)
      : ask(parameters, options?.headers);

  const defaultQuery = `# Ctrl-Space lists what there is. A token goes into the headers: {"authorization": "Bearer …"}
{
  jobs(first: 10) {
    totalCount
    edges { node { jobId externalId status taskCounters { ready running completed failed } } }
  }
}
`;
  const root = ReactDOM.createRoot(document.getElementById("graphiql"));
  root.render(React.createElement(GraphiQL, { fetcher, defaultQuery, defaultEditorToolsVisibility: true }));
})();
