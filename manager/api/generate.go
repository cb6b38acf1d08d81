package api

//go:generate go tool -modfile=../../tools/go.mod oapi-codegen -config server.oapi.yaml openapi.yaml
