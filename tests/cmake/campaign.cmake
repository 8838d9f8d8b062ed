# Long attempts to break the compiler and the trainer: targets, never part of ctest. tests/campaign/ has them.
set(campaign ${CMAKE_CURRENT_SOURCE_DIR}/campaign)
# libFuzzer, REMAT_FUZZ_SECONDS (600) for each harness, with clang in a build folder of its own.
add_custom_target(fuzz COMMAND sh ${campaign}/fuzz.sh ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/fuzz USES_TERMINAL VERBATIM)

# Failing system calls and allocations: a library to preload, on Linux for x86-64.
if(TARGET rematc AND CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_library(fail_shim MODULE EXCLUDE_FROM_ALL ${campaign}/fail_shim.c)
  target_compile_options(fail_shim PRIVATE -fno-sanitize=all)
  target_link_options(fail_shim PRIVATE -fno-sanitize=all)
  target_link_libraries(fail_shim PRIVATE ${CMAKE_DL_LIBS})
  foreach(part trainer compiler)
    add_custom_target(fail_${part} COMMAND sh ${campaign}/fail_${part}.sh $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
                      ${CMAKE_BINARY_DIR}/campaign/fail_${part} $<TARGET_FILE:fail_shim>
                      DEPENDS rematc fail_shim USES_TERMINAL VERBATIM)
  endforeach()
endif()

# Signals and damaged checkpoints.
if(TARGET rematc)
  add_executable(damage EXCLUDE_FROM_ALL ${campaign}/damage.c)
  add_custom_target(damage_campaign COMMAND sh ${campaign}/damage.sh $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
                    ${CMAKE_BINARY_DIR}/campaign/damage $<TARGET_FILE:damage> DEPENDS rematc damage USES_TERMINAL VERBATIM)
  add_custom_target(kill_campaign COMMAND sh ${campaign}/kill.sh $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
                    ${CMAKE_BINARY_DIR}/campaign/kill DEPENDS rematc USES_TERMINAL VERBATIM)
endif()

if(TARGET rematc)
  add_custom_target(valgrind COMMAND sh ${campaign}/valgrind.sh $<TARGET_FILE:rematc> ${CMAKE_SOURCE_DIR}
                    ${CMAKE_BINARY_DIR}/campaign/valgrind DEPENDS rematc USES_TERMINAL VERBATIM)
endif()
