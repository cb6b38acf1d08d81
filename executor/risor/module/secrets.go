package module

import (
	"github.com/deepnoodle-ai/risor/v2/pkg/object"

	"github.com/picloud/picloud/executor/hostcall"
)

func secretsModule() Module {
	return Module{
		Name: "secrets",
		Doc:  "Secrets of the app, set with `picloud secret set`. A function may read all of them, or only those that its `secrets` setting lists. Values that were read are hidden in its logs from then on.",
		Functions: []Function{{
			Name: "get", Args: []Arg{{Name: "name", Type: "string"}}, Returns: "string|bytes",
			Doc: "The value of a secret: a string, or bytes when it is not UTF-8. The node is asked at each call, so that a changed secret takes effect at once.",
			Errors: []Fault{
				{hostcall.CodeSecretNotFound, "the app has no secret of that name, or the function may not read it"},
				{hostcall.CodeSecretUnavailable, "the node does not have the cluster's key, or the key does not open the secret"},
			},
			Example: example(`secrets.get("API_KEY")   // → "s3cret"`, `secrets.get("OTHER")     // → error secret_not_found`),
			call: func(a *arguments) (object.Object, error) {
				return a.ask(hostcall.SecretsGet, hostcall.Secret{Name: a.text(0)})
			},
		}},
	}
}
