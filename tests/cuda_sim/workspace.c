/* The kernels' k_workspace, beside the module's own. */
#define k_workspace cuda_k_workspace
#include "kernels/workspace.c"
