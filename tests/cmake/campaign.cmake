# Long attempts to break the compiler and the trainer: targets, never part of ctest. tests/campaign/ has them.
set(campaign ${CMAKE_CURRENT_SOURCE_DIR}/campaign)
# libFuzzer, REMAT_FUZZ_SECONDS (600) for each harness, with clang in a build folder of its own.
add_custom_target(fuzz COMMAND sh ${campaign}/fuzz.sh ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/fuzz USES_TERMINAL VERBATIM)
