package api

//go:generate go run -C ../../tools ./openapijson ../manager/api/openapi.yaml ../manager/api/openapi.gen.json
