package api

//go:generate go tool -modfile=../../tools/go.mod oapi-codegen -config server.oapi.yaml openapi.yaml
//go:generate go run -C ../../tools ./openapijson ../manager/api/openapi.yaml ../manager/api/openapi.gen.json
