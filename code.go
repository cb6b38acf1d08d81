package picloud

// Code is a stable identifier of one kind of failure, such as "PC1204". Codes
// are never reused.
type Code string

// The codes. 10xx: requests to the control API; 11xx: deploys; 12xx: calls of
// functions; 13xx: the node itself; 14xx: nodes among one another.
const (
	CodeInvalid         Code = "PC1001"
	CodeUnauthenticated Code = "PC1002"
	CodeForbidden       Code = "PC1003"
	CodeNotFound        Code = "PC1004"
	CodeMethod          Code = "PC1005"
	CodeExists          Code = "PC1006"
	CodeLastOwner       Code = "PC1007"
	CodePrecondition    Code = "PC1008"
	CodeTooLarge        Code = "PC1009"
	CodeConflict        Code = "PC1010"
	CodeQuota           Code = "PC1011"
	CodeForeignHost     Code = "PC1012"
	CodeForeignOrigin   Code = "PC1013"

	CodeScript        Code = "PC1101"
	CodeSourceBounds  Code = "PC1102"
	CodeCompileBudget Code = "PC1103"
	CodeBusy          Code = "PC1104"

	CodeFunctionNotFound Code = "PC1201"
	CodeFunctionMethod   Code = "PC1202"
	CodeFunctionError    Code = "PC1203"
	CodeFunctionTimeout  Code = "PC1204"
	CodeFunctionMemory   Code = "PC1205"
	CodeFunctionCrash    Code = "PC1206"
	CodeFunctionResponse Code = "PC1207"
	CodeResponseTooLarge Code = "PC1208"
	CodeRequestTooLarge  Code = "PC1209"
	CodeQueueFull        Code = "PC1210"
	CodeBreakerOpen      Code = "PC1211"
	CodeNoHandler        Code = "PC1212"
	CodeCancelled        Code = "PC1213"
	CodeInterrupted      Code = "PC1214"
	CodeFunctionRequest  Code = "PC1215"
	CodePath             Code = "PC1216"
	CodeNoRoute          Code = "PC1217"

	CodeInternal     Code = "PC1300"
	CodeDatabaseDown Code = "PC1301"
	CodeStarting     Code = "PC1302"
	CodeDraining     Code = "PC1303"
	CodeNoMemory     Code = "PC1304"
	CodeExecutor     Code = "PC1305"
	CodeOverload     Code = "PC1306"
	CodeSecrets      Code = "PC1307"
	CodeDeposed      Code = "PC1308"

	CodeNotInvited Code = "PC1401"
	CodeInvitation Code = "PC1402"
	CodeNoManager  Code = "PC1403"
	CodeUnreached  Code = "PC1404"
	CodeDump       Code = "PC1405"

	CodeDatabaseElsewhere Code = "PC1406"
	CodeStale             Code = "PC1407"
)

// Entry is the catalogue's description of a code.
type Entry struct {
	Code   Code
	Kind   error  // the sentinel that errors with this code match
	Type   string // the slug of the problem type: "/problems/" + Type
	Title  string // short and constant
	Status int    // HTTP status
	Doc    string // what it means and what to do, for docs/errors.md
}

// Catalogue lists every code, in order. docs/errors.md is generated from it.
var Catalogue = []Entry{
	{CodeInvalid, ErrInvalid, "invalid-input", "Invalid input", 400, "The request does not fit the contract. `errors[]` names the fields."},
	{CodeUnauthenticated, ErrUnauthenticated, "unauthenticated", "Not signed in", 401, "Send `Authorization: Bearer TOKEN`. `picloud login` saves a token for the CLI."},
	{CodeForbidden, ErrForbidden, "forbidden", "Not allowed", 403, "You are a member of the app, but your role does not allow this. Ask an admin or owner of the app."},
	{CodeNotFound, ErrNotFound, "not-found", "Not found", 404, "There is no such thing, or you are not a member of its app."},
	{CodeMethod, ErrInvalid, "method-not-allowed", "Method not allowed", 405, "The path exists but not with this method. The `Allow` header lists the methods it has."},
	{CodeExists, ErrConflict, "already-exists", "Already exists", 409, "POST creates and never replaces. Change the existing one with PATCH."},
	{CodeLastOwner, ErrConflict, "last-owner", "The last owner stays", 409, "An app keeps at least one owner. Make somebody else owner first."},
	{CodePrecondition, ErrPrecondition, "precondition-failed", "Changed since you read it", 412, "`If-Match` does not equal the current ETag. Read it again and repeat the change."},
	{CodeTooLarge, ErrTooLarge, "too-large", "Too large", 413, "The request body is over the limit that the detail names."},
	{CodeConflict, ErrConflict, "conflict", "Conflict", 409, "The change does not fit the present state; the detail says why."},
	{CodeQuota, ErrLimit, "quota", "Quota reached", 409, "The app has as much of this as it may have; the detail says how much. Delete some, or raise the quota."},
	{CodeForeignHost, ErrForbidden, "foreign-host", "Not a name of this node", 421, "The control listener answers for localhost, the addresses and the names of its node, and for what `control_hosts` lists."},
	{CodeForeignOrigin, ErrForbidden, "foreign-origin", "Page of another origin", 403, "A web page of another origin asked for a change. The control listener takes changes from programs, and from pages of its own."},

	{CodeScript, ErrScript, "script-error", "Script does not compile", 422, "`line`, `column` and `excerpt` say where. The version that was live stays live."},
	{CodeSourceBounds, ErrScript, "source-bounds", "Script is out of bounds", 422, "A script has at most 64 KiB, 500 top-level bindings and 2,000 operators in one expression."},
	{CodeCompileBudget, ErrScript, "compile-budget", "Script takes too long to load", 422, "Compiling and loading a script has 2 s. Move work from the top level into the handler."},
	{CodeBusy, ErrUnavailable, "compiler-busy", "Compiler is busy", 503, "At most two scripts are compiled at once. Try again after `Retry-After`."},

	{CodeFunctionNotFound, ErrNotFound, "function-not-found", "No such function", 404, "No function is deployed at this path. `picloud ls` lists what is."},
	{CodeFunctionMethod, ErrInvalid, "function-method", "Method not allowed", 405, "The function's settings do not list this method. The `Allow` header lists those it takes."},
	{CodeFunctionError, ErrFunction, "function-error", "Function failed", 500, "The function raised an error that it did not catch. `picloud logs` shows where."},
	{CodeFunctionTimeout, ErrTimeout, "function-timeout", "Function timed out", 504, "The function ran longer than its timeout. Return earlier, or raise `timeout`."},
	{CodeFunctionMemory, ErrFunction, "function-memory", "Function ran out of memory", 500, "The app's executor went over its memory limit and was ended. Hold less at once, or raise `memory`."},
	{CodeFunctionCrash, ErrFunction, "function-crash", "Executor crashed", 500, "The app's executor ended while it ran the call. The next call gets a fresh one."},
	{CodeFunctionResponse, ErrFunction, "function-response", "Function returned no usable response", 500, "A handler returns a string, bytes, a list, a map, or `{status, headers, body}`."},
	{CodeResponseTooLarge, ErrFunction, "response-too-large", "Response too large", 500, "The response is over the function's `response_body` limit."},
	{CodeRequestTooLarge, ErrTooLarge, "request-too-large", "Request too large", 413, "The request body is over the function's `request_body` limit."},
	{CodeQueueFull, ErrLimit, "queue-full", "Too many calls at once", 429, "The function's concurrency and its queue are full. Try again after `Retry-After`."},
	{CodeBreakerOpen, ErrUnavailable, "breaker-open", "Executor keeps crashing", 503, "The app's executors crashed several times in a row, so calls are refused for a moment."},
	{CodeNoHandler, ErrFunction, "no-handler", "Function has no handler", 500, "The script defines no handler for this kind of call; HTTP needs `function handle(req)`."},
	{CodeCancelled, ErrTimeout, "cancelled", "Cancelled", 499, "The caller went away before the function answered."},
	{CodeInterrupted, ErrUnavailable, "call-interrupted", "Interrupted by another call", 503, "Another call of the app ended the executor that both shared; the detail says how. The call may have run in part, so PiCloud does not repeat it."},
	{CodeFunctionRequest, ErrInvalid, "request-body", "Request body cannot be read", 400, "The function reads the body as JSON, as text or as a form, and it is not; the detail says at which line and column. A function that catches the error of `req.json()`, `req.text()` or `req.form()` gives an answer of its own."},
	{CodePath, ErrInvalid, "path-refused", "Path refused", 400, "The path has a dot segment (`.` or `..`, also encoded), an encoded control character, or bytes that are no UTF-8. Proxies would read it in other ways than PiCloud."},
	{CodeNoRoute, ErrNotFound, "no-route", "No such path", 404, "The function's `routes` do not list this path. `picloud function show` prints them."},

	{CodeInternal, ErrInternal, "internal", "Internal error", 500, "PiCloud failed. The node's log has the cause under the `request_id`."},
	{CodeDatabaseDown, ErrUnavailable, "database-down", "Database not reachable", 503, "Functions are still served; changes have to wait. Nothing was kept, unless the detail says that the connection broke while the change was being committed: then look whether it is there before you repeat it."},
	{CodeStarting, ErrUnavailable, "starting", "Node is starting", 503, "The node has not loaded its catalog yet. Try again after `Retry-After`."},
	{CodeDraining, ErrUnavailable, "draining", "Node is shutting down", 503, "Try another node, or again after `Retry-After`."},
	{CodeNoMemory, ErrUnavailable, "node-memory", "Node is out of executor memory", 503, "All executor memory of this node is in use by running calls. Try again after `Retry-After`."},
	{CodeExecutor, ErrUnavailable, "executor-unavailable", "Executor could not be started", 503, "The node could not start a sandboxed executor. `picloud doctor` says why."},
	{CodeOverload, ErrUnavailable, "overload", "Too much under way at once", 503, "Large request and response bodies hold all the memory that this node has for them. Small ones are still served. Try again after `Retry-After`."},
	{CodeSecrets, ErrUnavailable, "secret-unavailable", "Secrets cannot be opened here", 503, "This node does not have the cluster's key. Functions that need no secret are served."},
	{CodeDeposed, ErrUnavailable, "deposed", "Another node manages the cluster", 503, "The node was the cluster's manager when the request began, and is no longer. Nothing was changed. Try again: any node passes the request to the manager."},

	{CodeNotInvited, ErrForbidden, "not-invited", "Node was not invited", 403, "A node becomes a member of a cluster by an invitation. `picloud node invite` on a node of the cluster prints the command that starts the new one."},
	{CodeInvitation, ErrForbidden, "invitation-refused", "Invitation refused", 403, "The token of the invitation is unknown, used up or past its time; the detail says which. `picloud node invite` makes another one."},
	{CodeNoManager, ErrUnavailable, "no-manager", "No manager", 503, "The cluster has no manager at this moment, or this node cannot reach it. Functions are served; changes have to wait. Try again after `Retry-After`."},
	{CodeUnreached, ErrUnavailable, "node-not-reached", "Node not reached", 503, "Another node of the cluster did not answer. Try again after `Retry-After`."},
	{CodeDump, ErrUnavailable, "dump-not-kept", "Dump not kept", 507, "A node could not keep a dump of the database, or has none that can be used; the detail says why. Older dumps stay as they are."},
	{CodeDatabaseElsewhere, ErrForbidden, "database-elsewhere", "Database was restored elsewhere", 403, "The cluster's database was brought up on another node while this one was away, so the database of this node is the cluster's no more. `picloud node reset` and an invitation bring the node back; keep a copy of its data folder if something in it is missed."},
	{CodeStale, ErrUnavailable, "catalog-stale", "Copy of the catalog too old", 503, "The node has not compared its catalog with the database for longer than the function's `max_stale` allows, so it may have an old version. Call another node, or again when this one reaches the database."},
}

var byCode = func() map[Code]Entry {
	m := make(map[Code]Entry, len(Catalogue))
	for _, e := range Catalogue {
		m[e.Code] = e
	}
	return m
}()

// Entry returns the catalogue's entry; an unknown code gets CodeInternal's.
func (c Code) Entry() Entry {
	if e, ok := byCode[c]; ok {
		return e
	}
	return byCode[CodeInternal]
}
