# The front end's text half: unit tests, golden files, mutated input.
remat_test(test_parse unit/test_parse.c LIBS remat_frontend)
target_compile_definitions(test_parse PRIVATE EXAMPLES="${CMAKE_SOURCE_DIR}/examples")

add_executable(golden ${CMAKE_SOURCE_DIR}/tests/unit/golden.c)
target_link_libraries(golden PRIVATE remat_frontend remat_shared)
target_include_directories(golden PRIVATE ${CMAKE_SOURCE_DIR})
set(golden_options "")
if(TARGET rematc)
  set(golden_options --rematc $<TARGET_FILE:rematc>)
  add_dependencies(golden rematc)
endif()
add_test(NAME golden COMMAND golden ${CMAKE_SOURCE_DIR}/tests/cases ${golden_options})
set_tests_properties(golden PROPERTIES TIMEOUT 120)
# Rewrites the expectations after a change that was meant: cmake --build build --target golden_update
add_custom_target(golden_update COMMAND ${CMAKE_COMMAND} -E env REMAT_HOST=host-amx $<TARGET_FILE:golden> ${CMAKE_SOURCE_DIR}/tests/cases --update ${golden_options} DEPENDS golden VERBATIM)

# Ten minutes of mutated files rather than seconds: cmake --build build --target fuzz_parse
add_custom_target(fuzz_parse COMMAND ${CMAKE_COMMAND} -E env REMAT_FUZZ_ROUNDS=1000000 $<TARGET_FILE:test_parse> DEPENDS test_parse VERBATIM)
