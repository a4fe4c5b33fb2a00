/**
 * Replaces `$(NAME)` by the variable's value, as the kubelet does in commands, arguments and environment values: `$$` stands for
 * one dollar, and a reference to an unknown variable stays as it is.
 */
export function expandVariables(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (reference, name?: string) =>
    name === undefined ? '$' : (variables.get(name) ?? reference),
  );
}
