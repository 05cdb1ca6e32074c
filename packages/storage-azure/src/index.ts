/** Blob store on Azure Blob Storage. */
export {};
