// Starts Swagger UI on our own document. Nothing is fetched from elsewhere: no validator, no fonts, no CDN.

window.SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#swagger',
  deepLinking: true,
  validatorUrl: null,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: false,
});
