// Owns the names of the scopes: what an API key may do. The schema names them once more.

export const scopes = ["tasks:read", "tasks:write", "queues:write", "admin"] as const;
export type Scope = (typeof scopes)[number];
